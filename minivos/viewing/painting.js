// Painting in a browser as painting.py does it in Python: both fill the same pixels.
//
// MaskPainting   the labels of a frame: strokes, polygons, undo and redo
// View           the part of a frame that fills a canvas: zoom, and where a click falls
// encodeMask     labels as a palette PNG
//
// A point is [y, x] in pixels of the frame, whole numbers are centres of pixels; a place is [x, y] in
// pixels of the screen, on the canvas.

const MOST_UNDO = 50
const MOST_ZOOM = 16
const VOID = 255 // label of pixels that the annotators left undecided

const isObject = label => label !== 0 && label !== VOID
const clip = (number, least, most) => Math.min(Math.max(number, least), most)

// Labels as [label, how many, label, how many, ...]
function toRuns(labels) {
  const runs = []
  for (let start = 0, i = 1; i <= labels.length; i++) {
    if (i < labels.length && labels[i] === labels[start]) continue
    runs.push(labels[start], i - start)
    start = i
  }
  return runs
}

function fromRuns(runs, count) {
  const labels = new Uint8Array(count)
  for (let i = 0, end = 0; i < runs.length; i += 2) labels.fill(runs[i], end, (end += runs[i + 1]))
  return labels
}

class MaskPainting {
  constructor(height, width, runs) {
    this.height = height
    this.width = width
    this.runs = runs // the labels after the last step
    this.labels = fromRuns(runs, height * width)
    this.before = []
    this.after = []
  }

  // What was painted since the last step becomes one that can be undone
  step(runs = toRuns(this.labels)) {
    this.before = [...this.before.slice(1 - MOST_UNDO), this.runs]
    this.after = []
    this.runs = runs
  }

  // Forget what was painted since the last step
  restore() {
    this.labels = fromRuns(this.runs, this.labels.length)
  }

  // All pixels within a radius of the way from start to end; object 0 erases
  stroke(start, end, radius, label) {
    const box = this.around([start, end], radius)
    const [wayY, wayX] = [end[0] - start[0], end[1] - start[1]]
    const length = Math.max(wayY * wayY + wayX * wayX, 1e-9)
    for (let y = box.top; y < box.bottom; y++) {
      for (let x = box.left; x < box.right; x++) {
        const [awayY, awayX] = [y - start[0], x - start[1]]
        const share = clip((awayY * wayY + awayX * wayX) / length, 0, 1) // of the way, nearest to the pixel
        const [restY, restX] = [awayY - share * wayY, awayX - share * wayX]
        if (Math.sqrt(restY * restY + restX * restX) <= radius) this.labels[y * this.width + x] = label
      }
    }
    return box
  }

  // All pixels whose centres lie inside a polygon: in each row, between every other pair of edges
  polygon(corners, label) {
    const box = this.around(corners, 0)
    for (let y = box.top; y < box.bottom; y++) {
      const edges = []
      corners.forEach(([fromY, fromX], i) => {
        const [toY, toX] = corners[(i + 1) % corners.length]
        if (fromY > y !== toY > y) edges.push(fromX + ((y - fromY) / (toY - fromY)) * (toX - fromX))
      })
      edges.sort((a, b) => a - b)
      for (let i = 0; i < edges.length; i += 2) {
        const [first, end] = edges.slice(i, i + 2).map(x => clip(Math.ceil(x), 0, this.width))
        this.labels.fill(label, y * this.width + first, y * this.width + end)
      }
    }
    return box
  }

  erase(label) {
    this.labels = this.labels.map(each => (each === label ? 0 : each))
    this.step()
  }

  undo() {
    this.exchange(this.before, this.after)
  }

  redo() {
    this.exchange(this.after, this.before)
  }

  exchange(from, to) {
    if (!from.length) return
    to.push(this.runs)
    this.runs = from.pop()
    this.restore()
  }

  // The pixels of each label after the last step, a list of 256
  areas() {
    const areas = new Array(256).fill(0)
    for (let i = 0; i < this.runs.length; i += 2) areas[this.runs[i]] += this.runs[i + 1]
    return areas
  }

  around(points, margin) {
    const [rows, columns] = [points.map(([y]) => y), points.map(([, x]) => x)]
    return {
      top: clip(Math.floor(Math.min(...rows) - margin), 0, this.height),
      bottom: clip(Math.ceil(Math.max(...rows) + margin + 1), 0, this.height),
      left: clip(Math.floor(Math.min(...columns) - margin), 0, this.width),
      right: clip(Math.ceil(Math.max(...columns) + margin + 1), 0, this.width),
    }
  }
}

class View {
  constructor(height, width) {
    this.frame = [height, width]
    this.zoom = 1
    this.corner = [0, 0] // how much of the frame lies above, and left of, the canvas
    this.fill(width, height)
  }

  // Make the whole frame as large as a canvas of at most this size can show it
  fill(widest, tallest) {
    const [height, width] = this.frame
    this.fit = Math.min(tallest / height, widest / width) // pixels of the screen per pixel of the frame
    this.canvas = this.frame.map(side => Math.max(1, Math.round(side * this.fit)))
  }

  get scale() {
    return this.fit * this.zoom
  }

  point([x, y]) {
    return [this.corner[0] + y / this.scale - 0.5, this.corner[1] + x / this.scale - 0.5]
  }

  place([y, x]) {
    return [(x + 0.5 - this.corner[1]) * this.scale, (y + 0.5 - this.corner[0]) * this.scale]
  }

  // Enlarge up to 16 times; what lies at the place stays there
  zoomTo(zoom, place) {
    const before = this.point(place)
    this.zoom = clip(zoom, 1, MOST_ZOOM)
    this.move(before, this.point(place))
  }

  // Bring what lies at start to where end is now, as far as the frame reaches
  move(start, end) {
    this.corner = this.corner.map((corner, i) => {
      const most = this.frame[i] - this.frame[i] / this.zoom
      return clip(corner + start[i] - end[i], 0, most)
    })
  }
}

// A PNG whose values are the labels; palette: 256 colours, R G B each
async function encodeMask({ labels, height, width }, palette) {
  const rows = new Uint8Array(height * (width + 1)) // each begins with 0: not filtered
  for (let y = 0; y < height; y++) {
    rows.set(labels.subarray(y * width, (y + 1) * width), y * (width + 1) + 1)
  }
  const deflated = new Blob([rows]).stream().pipeThrough(new CompressionStream("deflate"))
  const header = new DataView(new ArrayBuffer(13))
  header.setUint32(0, width)
  header.setUint32(4, height)
  header.setUint16(8, 0x0803) // 8 bits per pixel, colours from a palette
  const chunks = [
    new Uint8Array([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]),
    pngChunk("IHDR", new Uint8Array(header.buffer)),
    pngChunk("PLTE", palette),
    pngChunk("IDAT", new Uint8Array(await new Response(deflated).arrayBuffer())),
    pngChunk("IEND", new Uint8Array()),
  ]
  return new Blob(chunks, { type: "image/png" })
}

function pngChunk(kind, content) {
  const chunk = new Uint8Array(content.length + 12)
  const view = new DataView(chunk.buffer)
  view.setUint32(0, content.length)
  chunk.set(new TextEncoder().encode(kind), 4)
  chunk.set(content, 8)
  view.setUint32(content.length + 8, checksum(chunk.subarray(4, content.length + 8)))
  return chunk
}

// CRC-32, as each chunk of a PNG has it
function checksum(bytes) {
  let sum = ~0
  for (const byte of bytes) {
    sum ^= byte
    for (let bit = 0; bit < 8; bit++) sum = (sum >>> 1) ^ (sum & 1 ? 0xedb88320 : 0)
  }
  return ~sum >>> 0
}
