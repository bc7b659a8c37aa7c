// The page around a painting; painting_hands.js and painting_files.js go on with it.
//
// 1. what is there     the frames, as the page was given them
// 2. drawing           the frame, its labels, the brush over them
// 3. painting          from presses to strokes and polygons

const NEAR = 8 // pixels of the screen within which a click means a corner that is there already
const LEAST_HEIGHT = 280 // pixels of the screen, of the canvas

// 1. What is there -------------------------------------------------------------------------------

const here = id => document.getElementById(id)
const given = JSON.parse(here("given").textContent)
const [height, width] = given.size
const bytes = text => Uint8Array.from(atob(text), letter => letter.charCodeAt(0))
const [onScreen, inFile] = [bytes(given.screen), bytes(given.palette)] // 256 colours, R G B each

const frames = given.frames.map(frame => {
  const picture = new Image()
  picture.onload = () => draw()
  picture.src = frame.picture
  return {
    ...frame,
    picture,
    painting: new MaskPainting(height, width, frame.runs),
    file: `${frame.name}.png`,
    areas: [],
    unsaved: false,
    saved: 0, // how often
  }
})
let frame = frames[0]
const known = new Set([1]) // the objects to choose among
let chosen = 1

const canvas = here("canvas")
const layer = canvas.getContext("2d")
const tinted = document.createElement("canvas")
const tint = tinted.getContext("2d")
const view = new View(height, width)

// 2. Drawing -------------------------------------------------------------------------------------

const thickness = Math.max(1, Math.round(Math.min(height, width) / 300)) // of outlines, in pixels of the frame
const WHITE = 0xffffffff
const outline = inPixels(255)
const flat = inPixels(128)
let mouse = null // a place on the canvas
let waiting = false

function draw() {
  if (waiting) return
  waiting = true
  requestAnimationFrame(() => {
    waiting = false
    drawPicture()
    drawHand()
  })
}

function drawPicture() {
  const scale = view.scale * devicePixelRatio
  const [top, left] = view.corner
  layer.setTransform(scale, 0, 0, scale, -left * scale, -top * scale)
  layer.imageSmoothingEnabled = scale < 2
  if (frame.picture.complete) layer.drawImage(frame.picture, 0, 0, width, height)
  layer.drawImage(tinted, 0, 0)
}

// The brush, or the polygon so far
function drawHand() {
  layer.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0)
  const shape = new Path2D()
  if (corners.length) {
    const places = corners.map(corner => view.place(corner))
    for (const at of mouse ? [...places, mouse] : places) shape.lineTo(...at)
    for (const [x, y] of places) shape.rect(x - 2, y - 2, 4, 4)
  } else if (mouse && ["brush", "eraser"].includes(tool())) {
    shape.arc(...mouse, view.scale * radius(), 0, 2 * Math.PI)
  }
  for (const [colour, thick] of [["#000a", 4], ["#fff", 3], [colourOf(label()), 2]]) {
    layer.strokeStyle = colour
    layer.lineWidth = thick
    layer.stroke(shape)
  }
}

// Colour the labels in a part of the frame, all of it if not given: flat, with an outline, and white around it
function colour(box = { top: 0, bottom: height, left: 0, right: width }) {
  const [top, bottom] = [Math.max(0, box.top - thickness), Math.min(height, box.bottom + thickness)]
  const [left, right] = [Math.max(0, box.left - thickness), Math.min(width, box.right + thickness)]
  if (top >= bottom || left >= right) return
  const part = tint.createImageData(right - left, bottom - top)
  const pixels = new Uint32Array(part.data.buffer)
  const { labels } = frame.painting
  for (let y = top, to = 0; y < bottom; y++) {
    const row = y * width
    const above = Math.max(0, y - thickness) * width
    const below = Math.min(height - 1, y + thickness) * width
    for (let x = left; x < right; x++, to++) {
      const label = labels[row + x]
      const before = labels[row + Math.max(0, x - thickness)]
      const behind = labels[row + Math.min(width - 1, x + thickness)]
      const [over, under] = [labels[above + x], labels[below + x]]
      const inside = label === before && label === behind && label === over && label === under
      if (isObject(label)) pixels[to] = inside ? flat[label] : outline[label]
      else if (!inside && [before, behind, over, under].some(isObject)) pixels[to] = WHITE
    }
  }
  tint.putImageData(part, left, top)
}

// The colour of each label as a pixel of a picture
function inPixels(opacity) {
  const four = Array.from({ length: 256 }, (_, label) => [...onScreen.subarray(3 * label, 3 * label + 3), opacity])
  return new Uint32Array(Uint8Array.from(four.flat()).buffer)
}

function colourOf(label) {
  return `rgb(${onScreen.subarray(3 * label, 3 * label + 3).join()})`
}

// Make the canvas as large as the window has room for
function fit() {
  const under = document.querySelector(".under").offsetHeight + 40
  view.fill(here("stage").clientWidth, Math.max(LEAST_HEIGHT, innerHeight - canvas.offsetTop - under))
  view.zoomTo(view.zoom, [0, 0])
  const [tall, wide] = view.canvas
  canvas.style.height = `${tall}px`
  canvas.style.width = `${wide}px`
  canvas.height = Math.round(tall * devicePixelRatio)
  canvas.width = Math.round(wide * devicePixelRatio)
  draw()
}

// 3. Painting ------------------------------------------------------------------------------------

let corners = [] // points of the polygon that is not closed yet
let doing = null // while pressed: the tool, and the point where it was last

const tool = () => document.querySelector("[name=tool]:checked").value
const radius = () => Number(here("radius").value)
const label = (which = tool()) => (which === "eraser" ? 0 : chosen)

function press(at, which = tool()) {
  doing = { which, last: view.point(at) }
  if (which !== "polygon" && which !== "move") follow(at)
}

function follow(at) {
  mouse = at
  if (doing?.which === "move") {
    view.move(doing.last, view.point(at))
  } else if (doing && doing.which !== "polygon") {
    const point = view.point(at)
    colour(frame.painting.stroke(doing.last, point, radius(), label(doing.which)))
    doing.last = point
  }
  draw()
}

function release() {
  const done = doing
  doing = null
  if (done?.which === "polygon") addCorner(mouse)
  else if (done && done.which !== "move") painted()
}

// What a first finger began before the second came
function abandon() {
  const left = doing
  doing = null
  if (!left || left.which === "polygon" || left.which === "move") return
  frame.painting.restore()
  colour()
}

// Add a corner to the polygon, or close it where its last or its first corner is
function addCorner(at) {
  const ends = corners.length ? [corners[0], corners.at(-1)] : []
  const near = ends.map(corner => view.place(corner)).some(([x, y]) => Math.hypot(x - at[0], y - at[1]) < NEAR)
  if (!near) corners.push(view.point(at))
  else closePolygon()
  showButtons()
  draw()
}

function closePolygon() {
  if (corners.length < 3) return
  colour(frame.painting.polygon(corners, chosen))
  forgetCorners()
  painted()
}

function painted() {
  frame.painting.step()
  settle()
}

function forgetCorners() {
  corners = []
  showButtons()
  draw()
}

// Take back the last corner of an open polygon, else what was painted last
function undo() {
  if (corners.length) {
    corners.pop()
    showButtons()
    draw()
  } else {
    exchanged(() => frame.painting.undo())
  }
}

function exchanged(change) {
  change()
  colour()
  settle()
}
