// What the attention explorer draws, on canvas; lines across are SVG. It knows frames, cells and colours, no network.
//
// 1. colours        heat for weights, one colour per object
// 2. outlines       of objects, and of sets of cells
// 3. Picture        a frame on a canvas, and what lies over it
// 4. figures        the scale of the heat, bars, a chart over time
// 5. across         lines from picture to picture, and all of it as one PNG
//
// Lengths of pens and letters are pixels of the screen (CSS), of frames and cells pixels of the frame.

// 1. Colours -------------------------------------------------------------------------------------

// Lightness rises evenly from stop to stop (OKLab, 0.22 to 0.97), so that more looks like more, in grey as well
const STOPS = ["#18123c", "#411a5e", "#72226e", "#a52e6c", "#d0495d", "#ed714c", "#f9a152", "#fad081", "#fbf8c4"]
const HEAT = Array.from({ length: 256 }, (_, i) => between(STOPS.map(hex), (i / 255) * (STOPS.length - 1)))
const LEAST_SHOWN = 1e-3 // of the largest weight, where the logarithm begins
const LETTERS = "system-ui, sans-serif"
const FONT = 13

function hex(colour) {
  return [1, 3, 5].map(at => parseInt(colour.slice(at, at + 2), 16))
}

function between(stops, place) {
  const low = Math.min(Math.floor(place), stops.length - 2)
  return stops[low].map((part, i) => Math.round(part + (place - low) * (stops[low + 1][i] - part)))
}

// Weights to brightness, 0 to 1, and back; both keep small weights in sight
const SCALES = {
  root: { to: share => Math.sqrt(share), back: light => light * light },
  log: {
    to: share => (share > LEAST_SHOWN ? 1 - Math.log(share) / Math.log(LEAST_SHOWN) : 0),
    back: light => LEAST_SHOWN ** (1 - light),
  },
}

const css = ([red, green, blue], opacity = 1) => `rgb(${red} ${green} ${blue} / ${opacity})`
const isLight = ([red, green, blue]) => 0.299 * red + 0.587 * green + 0.114 * blue > 140

// Objects beyond the last colour begin again; their numbers tell them apart
function colourOf(label, colours) {
  return label === 0 ? [128, 132, 140] : colours[1 + ((label - 1) % (colours.length - 1))]
}

// 2. Outlines ------------------------------------------------------------------------------------

// The border of all places of a grid for which inside(number) holds
function border(inside, [height, width]) {
  const path = new Path2D()
  const holds = (y, x) => y >= 0 && x >= 0 && y < height && x < width && Boolean(inside(y * width + x))
  for (let y = 0; y <= height; y++) {
    for (let x = 0; x <= width; x++) {
      const here = holds(y, x)
      if (here !== holds(y - 1, x)) {
        path.moveTo(x, y)
        path.lineTo(x + 1, y)
      }
      if (here !== holds(y, x - 1)) {
        path.moveTo(x, y)
        path.lineTo(x, y + 1)
      }
    }
  }
  return path
}

const outlined = new WeakMap() // label maps whose outlines are known

// The objects of a label map: [{label, path, top, bottom}, ...], with the uppermost and lowest point [y, x]
function outlines(labels, size, objects) {
  if (outlined.has(labels)) return outlined.get(labels)
  const found = objects.map(label => {
    const [first, last] = [labels.indexOf(label), labels.lastIndexOf(label)]
    if (first < 0) return null
    const [top, bottom] = [first, last].map(pixel => {
      const y = Math.floor(pixel / size[1])
      const row = labels.subarray(y * size[1], (y + 1) * size[1])
      return [y, (row.indexOf(label) + row.lastIndexOf(label)) / 2]
    })
    return { label, top, bottom, path: border(pixel => labels[pixel] === label, size) }
  })
  outlined.set(labels, found.filter(Boolean))
  return outlined.get(labels)
}

// 3. Picture -------------------------------------------------------------------------------------

// To be resized empties a canvas, and takes time
function resize(canvas, width, height) {
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height })
}

class Picture {
  constructor(canvas, size) {
    this.canvas = canvas
    this.size = size
    this.pen = canvas.getContext("2d")
  }

  // Take the width that the page gives it; say if there is any
  fit() {
    const width = this.canvas.clientWidth
    if (!width) return false
    const [wide, tall] = [width, (width * this.size[0]) / this.size[1]].map(side => Math.round(side * devicePixelRatio))
    resize(this.canvas, wide, tall)
    this.scale = wide / this.size[1]
    this.unit = devicePixelRatio
    return true
  }

  // A frame, dark where something is to shine on it
  frame(image, dark = 0) {
    const { width, height } = this.canvas
    this.pen.imageSmoothingEnabled = this.scale < 2
    this.pen.fillStyle = "#777"
    this.pen.fillRect(0, 0, width, height)
    if (image?.complete && image.naturalWidth) this.pen.drawImage(image, 0, 0, width, height)
    this.pen.fillStyle = css([0, 0, 0], dark)
    this.pen.fillRect(0, 0, width, height)
  }

  // Pixels of the frame to pixels of the canvas; whole numbers are centres of pixels
  place([y, x]) {
    return [(x + 0.5) * this.scale, (y + 0.5) * this.scale]
  }

  point(event) {
    const box = this.canvas.getBoundingClientRect()
    const scale = box.width / this.size[1]
    return [(event.clientY - box.top) / scale - 0.5, (event.clientX - box.left) / scale - 0.5]
  }

  box(cells, cell) {
    const [[top, bottom], [left, right]] = cell.map((place, axis) => cells.edges(place, axis))
    return [...this.place([top, left]), (right - left) * this.scale, (bottom - top) * this.scale]
  }

  // One colour [red, green, blue, opacity 0 to 255] per cell, null: nothing
  cells(cells, colourAt) {
    const [tall, wide] = cells.grid
    const small = new OffscreenCanvas(wide, tall)
    const pixels = new ImageData(wide, tall)
    for (let i = 0; i < cells.count; i++) pixels.data.set(colourAt(i) ?? [0, 0, 0, 0], 4 * i)
    small.getContext("2d").putImageData(pixels, 0, 0)
    const [left, top] = this.box(cells, [0, 0])
    const [, , across, down] = this.box(cells, [0, 0])
    this.pen.imageSmoothingEnabled = false
    this.pen.drawImage(small, left, top, across * wide, down * tall)
  }

  // Brightness 0 to 1 of each cell
  heat(cells, lightAt) {
    this.cells(cells, i => {
      const light = clip(lightAt(i), 0, 1)
      return [...HEAT[Math.round(255 * light)], 50 + 195 * light]
    })
  }

  labels(labels, colours, opacity = 0.55) {
    const [height, width] = this.size
    const pixels = new ImageData(width, height)
    labels.forEach((label, i) => {
      if (label !== 0 && label !== VOID) pixels.data.set([...colourOf(label, colours), 255 * opacity], 4 * i)
    })
    const small = new OffscreenCanvas(width, height)
    small.getContext("2d").putImageData(pixels, 0, 0)
    this.pen.imageSmoothingEnabled = false
    this.pen.drawImage(small, 0, 0, this.canvas.width, this.canvas.height)
  }

  stroke(path, strokes, dash = []) {
    this.pen.lineJoin = this.pen.lineCap = "round"
    this.pen.setLineDash(dash.map(length => length * this.unit))
    for (const [colour, width] of strokes) {
      this.pen.strokeStyle = colour
      this.pen.lineWidth = width * this.unit
      this.pen.stroke(path)
    }
    this.pen.setLineDash([])
  }

  objects(found, colours) {
    for (const { label, path } of found) {
      const larger = new Path2D()
      larger.addPath(path, new DOMMatrix([this.scale, 0, 0, this.scale, 0, 0]))
      this.stroke(larger, [["#000a", 4], [css(colourOf(label, colours)), 2.2]])
    }
    const taken = []
    for (const each of found) {
      const place = this.beside(each)
      const meets = ([x, y]) => Math.hypot(x - place[0], y - place[1]) < 21 * this.unit
      while (taken.some(meets)) place[0] += 4 * this.unit
      taken.push(place)
      this.number(place, each.label, colourOf(each.label, colours))
    }
  }

  // Where the number of an object hides little of it: above, or else below
  beside({ top, bottom }) {
    const away = 12 * this.unit
    const [above, below] = [this.place(top), this.place(bottom)]
    const [x, y] = above[1] > 2 * away ? [above[0], above[1] - away] : [below[0], below[1] + away]
    return [clip(x, away, this.canvas.width - away), clip(y, away, this.canvas.height - away)]
  }

  number([x, y], text, colour, radius = 10) {
    this.pen.beginPath()
    this.pen.arc(x, y, radius * this.unit, 0, 2 * Math.PI)
    this.pen.fillStyle = css(colour)
    this.pen.fill()
    this.pen.strokeStyle = isLight(colour) ? "#000" : "#fff"
    this.pen.lineWidth = 1.2 * this.unit
    this.pen.stroke()
    write(this.pen, text, x, y + 0.5 * this.unit, { size: FONT * this.unit, colour: this.pen.strokeStyle, weight: 700 })
  }

  // A cell with a frame around it, light and dark so that it shows on anything
  cell(cells, cell, colour = "#fff") {
    const path = new Path2D()
    path.rect(...this.box(cells, cell))
    this.stroke(path, [["#000", 5], [colour, 2.4]])
  }

  // The letter of a match, in its cell
  letter(cells, cell, letter) {
    const [left, top, wide, tall] = this.box(cells, cell)
    const path = new Path2D()
    path.rect(left, top, wide, tall)
    this.stroke(path, [["#000c", 3], ["#fff", 1.4]])
    const looks = { size: FONT * this.unit, colour: "#fff", weight: 700, halo: "#000" }
    write(this.pen, letter, left + wide / 2, top + tall / 2, looks)
  }

  // What cannot be seen is hatched, what can has a dashed line around it
  pattern(cells, sees) {
    const mapped = new Path2D()
    const [left, top, wide, tall] = this.box(cells, [0, 0])
    const onCanvas = new DOMMatrix([wide, 0, 0, tall, left, top])
    mapped.addPath(border(i => sees[i], cells.grid), onCanvas)
    const hidden = new Path2D()
    for (let i = 0; i < cells.count; i++) if (!sees[i]) hidden.rect(...this.box(cells, cells.cell(i)))
    this.pen.fillStyle = this.hatch()
    this.pen.fill(hidden)
    this.stroke(mapped, [["#000c", 3.4], ["#9fe8ff", 1.8]], [5, 4])
  }

  hatch() {
    const side = Math.round(7 * this.unit)
    const tile = new OffscreenCanvas(side, side)
    const pen = tile.getContext("2d")
    pen.fillStyle = "#4447"
    pen.fillRect(0, 0, side, side)
    pen.strokeStyle = "#dfe3ea66"
    pen.lineWidth = this.unit
    for (const shift of [-side, 0, side]) {
      pen.moveTo(shift, side)
      pen.lineTo(shift + side, 0)
    }
    pen.stroke()
    return this.pen.createPattern(tile, "repeat")
  }

  // The true point: a cross in a ring
  target(point) {
    const [x, y] = this.place(point)
    const [ring, arm] = [6 * this.unit, 11 * this.unit]
    const path = new Path2D()
    path.arc(x, y, ring, 0, 2 * Math.PI)
    for (const [a, b] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      path.moveTo(x + (a * ring) / 2, y + (b * ring) / 2)
      path.lineTo(x + a * arm, y + b * arm)
    }
    this.stroke(path, [["#000", 4.5], ["#5dffa8", 2]])
  }
}

// 4. Figures -------------------------------------------------------------------------------------

function write(pen, text, x, y, looks = {}) {
  const { size = FONT, colour = "#000", weight = 400, align = "center", halo = null, most } = looks
  pen.font = `${weight} ${size}px ${LETTERS}`
  pen.textAlign = align
  pen.textBaseline = "middle"
  if (halo) {
    pen.strokeStyle = halo
    pen.lineWidth = size / 4
    pen.strokeText(text, x, y)
  }
  pen.fillStyle = colour
  pen.fillText(text, x, y, most)
}

// A pen for figures, in pixels of the screen
function figure(canvas, height) {
  const width = canvas.clientWidth
  const [wide, tall] = [width, height].map(side => Math.round(side * devicePixelRatio))
  const pen = canvas.getContext("2d")
  resize(canvas, wide, tall)
  pen.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0)
  pen.clearRect(0, 0, width, height)
  return [pen, width]
}

function drawScale(canvas) {
  if (canvas.width === Math.round(canvas.clientWidth * devicePixelRatio)) return // drawn before
  const [pen, width] = figure(canvas, 12)
  for (let x = 0; x < width; x++) {
    pen.fillStyle = css(HEAT[Math.round((255 * x) / Math.max(1, width - 1))])
    pen.fillRect(x, 0, 1.5, 12)
  }
}

// One line per label over the frames; null: no value. Values from least to 1
function drawChart(canvas, frames, lines, { least, colours, ink, quiet, now }) {
  const [pen, width] = figure(canvas, 170)
  const [left, right, top, bottom] = [38, width - 26, 14, 140]
  const x = i => left + 10 + ((right - left - 20) * i) / Math.max(1, frames.length - 1)
  const y = value => bottom - ((bottom - top) * (value - least)) / (1 - least)
  for (const value of least < 0 ? [-1, 0, 1] : [0, 0.5, 1]) {
    pen.fillStyle = quiet
    pen.globalAlpha = 0.35
    pen.fillRect(left, y(value), right - left, 1)
    pen.globalAlpha = 1
    write(pen, value, left - 8, y(value), { size: 12, colour: quiet, align: "right" })
  }
  const every = Math.ceil(frames.length / Math.max(1, (right - left) / 34))
  frames.forEach((frame, i) => {
    const here = frame === now
    if (here) {
      pen.fillStyle = ink
      pen.fillRect(x(i) - 0.5, top, 1, bottom - top)
    }
    if (here || i % every === 0) {
      write(pen, frame, x(i), bottom + 16, { size: 12, colour: here ? ink : quiet, weight: here ? 700 : 400 })
    }
  })
  for (const { label, values } of lines) {
    const colour = colourOf(label, colours)
    const places = values.map((value, i) => (value === null ? null : [x(i), y(value)]))
    const path = new Path2D()
    places.forEach((at, i) => at && (places[i - 1] ? path.lineTo(...at) : path.moveTo(...at)))
    pen.strokeStyle = css(colour)
    pen.lineWidth = 2.2
    pen.stroke(path)
    for (const at of places.filter(Boolean)) {
      pen.fillStyle = css(colour)
      pen.beginPath()
      pen.arc(...at, 3, 0, 2 * Math.PI)
      pen.fill()
    }
  }
  labelEnds(pen, lines, y, right, colours)
}

// The number of each line at its end, one below the other where they would meet
function labelEnds(pen, lines, y, right, colours) {
  const ends = lines.map(({ label, values }) => ({ label, at: y(values.findLast(value => value !== null) ?? 0) }))
  ends.sort((a, b) => a.at - b.at)
  ends.forEach((end, i) => i && (end.at = Math.max(end.at, ends[i - 1].at + 17)))
  const below = Math.max(0, ends.at(-1).at - 160)
  ends.forEach(end => (end.at -= below))
  for (const { label, at } of ends) {
    const colour = colourOf(label, colours)
    pen.fillStyle = css(colour)
    pen.beginPath()
    pen.arc(right + 10, at, 8, 0, 2 * Math.PI)
    pen.fill()
    write(pen, label, right + 10, at + 0.5, { size: 12, colour: isLight(colour) ? "#000" : "#fff", weight: 700 })
  }
}

// 5. Across --------------------------------------------------------------------------------------

// Lines from a place to others, each [x, y, share]: the larger its share of the largest, the thicker. They leave their
// picture at its side, and go behind the boxes [left, top, width, height]
function drawLines(svg, from, side, ends, boxes) {
  const lines = ends.flatMap(([x, y, share]) => {
    const half = (x - side) / 2
    const way = `M${from} H${side} C${side + half},${from[1]} ${x - half / 2},${y} ${x},${y}`
    return [["#ffffff99", 1.6], ["#2b7de9", 0]].map(([colour, more]) => {
      const path = document.createElementNS(svg.namespaceURI, "path")
      const looks = { d: way, stroke: colour, "stroke-width": 0.8 + 1.4 * share + more, fill: "none" }
      for (const [name, value] of Object.entries(looks)) path.setAttribute(name, value)
      return path
    })
  })
  const holes = boxes.map(([left, top, width, height]) => `M${left},${top}h${width}v${height}h${-width}Z`)
  svg.dataset.seen = `M0,0H${svg.clientWidth}V${svg.clientHeight}H0Z${holes.join("")}`
  svg.style.clipPath = `path(evenodd, "${svg.dataset.seen}")`
  svg.replaceChildren(...lines)
}

// A part of the page as a picture, under a title: its canvases, bars and lines, and each word where it stands
function asPNG(part, title, page, ink) {
  const [area, scale, margin, line] = [part.getBoundingClientRect(), 2, 20, 24]
  const above = margin + title.length * line
  const sides = [area.width + 2 * margin, area.height + above + margin].map(side => Math.ceil(side) * scale)
  const canvas = new OffscreenCanvas(...sides)
  const pen = canvas.getContext("2d")
  pen.fillStyle = page
  pen.fillRect(0, 0, ...sides)
  pen.scale(scale, scale)
  const looks = { size: 15, colour: ink, weight: 650, align: "left", most: area.width }
  title.forEach((words, i) => write(pen, words, margin, margin + i * line, looks))
  pen.translate(margin - area.left, above - area.top)
  for (const each of part.querySelectorAll("*")) printElement(pen, each)
  pen.translate(area.left, area.top)
  const svg = part.querySelector(".lines")
  if (svg.dataset.seen) pen.clip(new Path2D(svg.dataset.seen), "evenodd")
  for (const path of svg.children) {
    pen.strokeStyle = path.getAttribute("stroke")
    pen.lineWidth = path.getAttribute("stroke-width")
    pen.stroke(new Path2D(path.getAttribute("d")))
  }
  return canvas.convertToBlob({ type: "image/png" })
}

function printElement(pen, element) {
  const { left, top, width, height } = element.getBoundingClientRect()
  if (!width || !height) return
  const style = getComputedStyle(element)
  pen.fillStyle = style.backgroundColor
  pen.beginPath()
  pen.roundRect(left, top, width, height, parseFloat(style.borderRadius) || 0)
  pen.fill()
  if (element.tagName === "CANVAS") pen.drawImage(element, left, top, width, height)
  for (const child of element.childNodes) if (child.nodeType === Node.TEXT_NODE) printWords(pen, child, style)
}

function printWords(pen, text, style) {
  const range = document.createRange()
  const looks = { size: parseFloat(style.fontSize), colour: style.color, weight: style.fontWeight, align: "left" }
  for (const { 0: word, index } of text.data.matchAll(/[^ \n\t]+/g)) {
    range.setStart(text, index)
    range.setEnd(text, index + word.length)
    const { left, top, height } = range.getBoundingClientRect()
    write(pen, word, left, top + height / 2, looks)
  }
}
