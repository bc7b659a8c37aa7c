// The page around a painting: what mouse, finger, pen and keys do, what is kept, saved and said.
//
// 1. what is there     the frames, as the page was given them
// 2. drawing           the frame, its labels, the brush over them
// 3. painting          from presses to strokes and polygons
// 4. what hands do     pointers, wheel, keys
// 5. tools             objects, brush, zoom, undo
// 6. what is left      kept in the browser, saved as a file, the next command

const WHEEL = 200 // how far the wheel turns to enlarge twice
const NEAR = 8 // pixels of the screen within which a click means a corner that is there already
const STEP = 12 // pixels of the screen that an arrow key goes
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

// 4. What hands do -------------------------------------------------------------------------------

const fingers = new Map() // pointers that are down: where on the canvas

function place(event) {
  const box = canvas.getBoundingClientRect()
  return [event.clientX - box.left, event.clientY - box.top]
}

canvas.addEventListener("pointerdown", event => {
  canvas.setPointerCapture(event.pointerId)
  fingers.set(event.pointerId, place(event))
  mouse = place(event)
  if (fingers.size === 2) return abandon()
  if (fingers.size > 2 || event.button === 2) return
  const penEraser = event.buttons & 32
  press(mouse, event.button === 1 ? "move" : penEraser ? "eraser" : tool())
})

canvas.addEventListener("pointermove", event => {
  if (fingers.size === 2 && fingers.has(event.pointerId)) return pinch(event)
  fingers.has(event.pointerId) && fingers.set(event.pointerId, place(event))
  if (fingers.size > 1) return
  const passed = event.getCoalescedEvents?.() ?? []
  for (const each of passed.length ? passed : [event]) follow(place(each))
})

function pinch(event) {
  const middle = () => [0, 1].map(i => [...fingers.values()].reduce((sum, at) => sum + at[i] / 2, 0))
  const apart = () => Math.hypot(...[0, 1].map(i => [...fingers.values()].reduce((gap, at) => at[i] - gap, 0)))
  const [from, before] = [middle(), apart()]
  fingers.set(event.pointerId, place(event))
  zoomTo((view.zoom * apart()) / Math.max(before, 1), from)
  view.move(view.point(from), view.point(middle()))
}

canvas.addEventListener("pointerup", event => {
  if (fingers.size === 1) release()
  fingers.delete(event.pointerId)
  if (event.pointerType === "touch") mouse = null
  draw()
})

canvas.addEventListener("pointercancel", event => {
  abandon()
  fingers.delete(event.pointerId)
})

canvas.addEventListener("pointerleave", () => {
  if (!fingers.size) mouse = null
  draw()
})

canvas.addEventListener("wheel", event => {
  event.preventDefault()
  zoomTo(view.zoom * 2 ** (-event.deltaY / WHEEL), place(event))
}, { passive: false })

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }

canvas.addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey) return
  const [tall, wide] = view.canvas
  mouse ??= [wide / 2, tall / 2]
  if (event.key in ARROWS) {
    const step = event.shiftKey ? view.scale : STEP
    follow(mouse.map((at, i) => clip(at + step * ARROWS[event.key][i], 0, [wide, tall][i])))
  } else if (event.key === " ") {
    if (!event.repeat) press(mouse)
  } else {
    return
  }
  event.preventDefault()
})

canvas.addEventListener("keyup", event => event.key === " " && release())

canvas.addEventListener("blur", () => doing && release())

const KEYS = {
  b: () => choose("brush"),
  p: () => choose("polygon"),
  e: () => choose("eraser"),
  m: () => choose("move"),
  "+": addObject,
  0: wholeFrame,
  "[": () => setRadius(radius() - Math.ceil(radius() / 8)),
  "]": () => setRadius(radius() + Math.ceil(radius() / 8)),
  Enter: closePolygon,
  Escape: forgetCorners,
  Backspace: () => corners.length && undo(),
}

addEventListener("keydown", event => {
  const control = event.ctrlKey || event.metaKey
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key
  const chord = { z: event.shiftKey ? redo : undo, y: redo, s: save }[key]
  if (control && chord) {
    event.preventDefault()
    chord()
  } else if (control || event.altKey || doing || event.target.matches("select")) {
    return
  } else if (/^[1-9]$/.test(key)) {
    chooseObject(Number(key))
  } else if (key in KEYS && !(key === "Enter" && event.target.matches("button, summary"))) {
    KEYS[key]()
  }
})

// 5. Tools ---------------------------------------------------------------------------------------

const HINTS = {
  brush: "Drag over the object; roughly is enough.",
  polygon: "Click around the object; click the first corner again to close, or press Enter.",
  eraser: "Drag over what is too much.",
  move: "Drag the picture; the wheel enlarges it.",
}

function choose(which) {
  document.querySelector(`[name=tool][value=${which}]`).checked = true
  showTool()
}

function showTool() {
  here("hint").textContent = HINTS[tool()]
  canvas.classList.toggle("move", tool() === "move")
  forgetCorners()
}

function chooseObject(id) {
  chosen = id
  known.add(id)
  if (tool() === "eraser") choose("brush")
  showObjects()
  showButtons()
  draw()
}

// The first number that is not in use
function addObject() {
  const free = Array.from({ length: VOID - 1 }, (_, i) => i + 1).find(id => !known.has(id))
  if (free) chooseObject(free)
  else here("said").textContent = "There are 254 objects; a mask holds no more."
}

function showObjects() {
  for (const { areas } of frames) areas.forEach((area, id) => area && isObject(id) && known.add(id))
  const ids = [...known].sort((a, b) => a - b)
  const list = here("objects")
  const focused = list.contains(document.activeElement)
  list.replaceChildren(...ids.map(objectChoice))
  if (focused) list.querySelector(":checked").focus()
}

function objectChoice(id) {
  const [choice, button, disc] = ["label", "input", "span"].map(tag => document.createElement(tag))
  Object.assign(button, { type: "radio", name: "object", value: id, checked: id === chosen })
  button.setAttribute("aria-label", `Object ${id}`)
  button.onchange = () => chooseObject(id)
  const [red, green, blue] = onScreen.subarray(3 * id)
  disc.textContent = id
  disc.style.background = colourOf(id)
  disc.style.color = 0.3 * red + 0.59 * green + 0.11 * blue > 100 ? "#000" : "#fff"
  choice.append(button, disc)
  return choice
}

function setRadius(pixels) {
  here("radius").value = pixels
  here("across").textContent = `${2 * radius()} px`
  draw()
}

function zoomTo(zoom, at = view.canvas.map(side => side / 2).reverse()) {
  view.zoomTo(zoom, at)
  here("zoom").textContent = view.zoom === 1 ? "" : `${view.zoom.toFixed(1)} times`
  showButtons()
  draw()
}

function wholeFrame() {
  zoomTo(1)
}

function redo() {
  exchanged(() => frame.painting.redo())
}

function showButtons() {
  here("undo").disabled = !corners.length && !frame.painting.before.length
  here("redo").disabled = !frame.painting.after.length
  here("clear").textContent = `Clear object ${chosen}`
  here("clear").disabled = !frame.areas[chosen]
  here("whole").disabled = here("smaller").disabled = view.zoom === 1
  here("larger").disabled = view.zoom === MOST_ZOOM
}

for (const each of document.querySelectorAll("[name=tool]")) each.onchange = showTool
here("add").onclick = addObject
here("radius").oninput = () => setRadius(radius())
here("smaller").onclick = () => zoomTo(view.zoom / 1.5)
here("larger").onclick = () => zoomTo(view.zoom * 1.5)
here("whole").onclick = wholeFrame
here("undo").onclick = undo
here("redo").onclick = redo
here("clear").onclick = () => exchanged(() => frame.painting.erase(chosen))
here("save").onclick = save
here("copy").onclick = copy
here("frame").onchange = () => show(frames[here("frame").value])

// 6. What is left --------------------------------------------------------------------------------

const isPainted = ({ areas }) => areas.some((area, id) => area && isObject(id))

// After each change of the labels
function settle() {
  frame.unsaved = true
  keep(frame)
  count(frame)
  tell()
}

function count(each) {
  each.areas = each.painting.areas()
}

// Say what is painted and what comes next
function tell() {
  const ids = [...frame.areas.keys()].filter(id => frame.areas[id] && isObject(id))
  const areas = ids.map(id => `${id} (${frame.areas[id].toLocaleString("en")} px)`)
  here("said").textContent = ids.length ? `${ids.length} object${ids.length > 1 ? "s" : ""}: ${areas.join(", ")}` : ""
  here("save").textContent = `Save ${frame.file}`
  here("save").disabled = !ids.length

  const unsaved = frames.filter(each => each.unsaved && isPainted(each))
  const saved = frames.filter(each => each.saved && !each.unsaved)
  const step = unsaved.length ? "save" : saved.length ? "follow" : "paint"
  for (const each of ["paint", "save", "follow"]) {
    here(`step-${each}`).toggleAttribute("aria-current", each === step)
    if (each === step) here(`step-${each}`).setAttribute("aria-current", "step")
  }
  here("save").classList.toggle("main", step === "save" && unsaved.includes(frame))
  here("copy").classList.toggle("main", step === "follow")
  here("next").textContent = { paint: toPaint, save: toSave, follow: toFollow }[step](unsaved)
  here("command").textContent = command()
  showObjects()
  showButtons()
}

// Short, so that the picture stays where it is when the words change
const toPaint = () => "Cover each object in a colour of its own."

function toSave(unsaved) {
  const others = unsaved.filter(each => each !== frame).map(each => each.name)
  if (unsaved.includes(frame)) return "Save when the objects are covered."
  return `Not saved yet: frame ${others.join(", ")}.`
}

function toFollow() {
  const again = frames.some(each => each.saved > 1 && !each.handle)
  return again ? "Run this with the latest file: its name may have a number more." : "With the saved file in the folder you work in, run:"
}

// What follows the objects that are painted
function command() {
  const masks = frames.filter(isPainted)
  const words = (masks.length ? masks : [frame]).flatMap(each => {
    const byName = each.first && each.file === `${each.name}.png`
    return ["--mask", byName ? each.file : `${each.reference}=${each.file}`]
  })
  return ["minivos", "segment", given.video, ...words].map(quoted).join(" ")
}

function quoted(word) {
  return /^[\w=.,:@%+/-]+$/.test(word) ? word : `"${word.replace(/["$`]/g, "\\$&")}"`
}

async function copy() {
  try {
    await navigator.clipboard.writeText(command())
  } catch {
    getSelection().selectAllChildren(here("command"))
    document.execCommand("copy")
  }
  here("copy").textContent = "Copied"
  setTimeout(() => (here("copy").textContent = "Copy"), 2000)
}

async function save() {
  const saving = frame
  if (!isPainted(saving)) return
  saving.unsaved = false // what is painted from now on is not in the file
  const file = await encodeMask(saving.painting, inFile)
  if (await write(saving, file)) saving.saved++
  else saving.unsaved = true
  keep(saving)
  tell()
}

// Write the file where people choose, or else where the browser puts what it downloads
async function write(saving, file) {
  if (window.showSaveFilePicker) {
    try {
      saving.handle ??= await showSaveFilePicker({ suggestedName: saving.file, types: [PNG] })
      const open = await saving.handle.createWritable()
      await open.write(file)
      await open.close()
      saving.file = saving.handle.name
      return true
    } catch (error) {
      saving.handle = undefined
      if (error.name === "AbortError") return false
    }
  }
  const link = document.createElement("a")
  link.href = URL.createObjectURL(file)
  link.download = saving.file
  link.click()
  setTimeout(() => URL.revokeObjectURL(link.href), 60000)
  return true
}

const PNG = { description: "PNG", accept: { "image/png": [".png"] } }

// Keep a painting in the browser, where it allows that
function keep({ key, painting, unsaved, saved, file }) {
  try {
    localStorage.setItem(key, JSON.stringify({ runs: painting.runs, unsaved, saved, file }))
  } catch {
    return // it has no room for us, or keeps nothing
  }
}

function bringBack(each) {
  try {
    const { runs, ...rest } = JSON.parse(localStorage.getItem(each.key))
    each.painting.step(runs)
    each.painting.restore()
    Object.assign(each, rest)
  } catch {
    return // nothing is kept
  }
}

function show(other) {
  frame = other
  canvas.setAttribute("aria-label", `Frame ${frame.name}, to paint on`)
  here("facts").textContent = `${given.video}, frame ${frame.name}, ${width} × ${height} pixels`
  colour()
  forgetCorners()
  tell()
}

addEventListener("beforeunload", event => {
  if (frames.some(each => each.unsaved && isPainted(each))) event.preventDefault()
})

function begin() {
  if (!window.CompressionStream) {
    here("next").textContent = "This browser cannot write masks; open the page in one from 2023 or later."
    document.querySelector("main").inert = true
    return
  }
  tinted.height = height
  tinted.width = width
  here("frames").hidden = frames.length === 1
  here("frame").replaceChildren(...frames.map(({ name }, i) => new Option(name, i)))
  const side = Math.min(height, width)
  here("radius").max = Math.max(3, Math.floor(side / 4))
  setRadius(Math.max(2, Math.floor(side / 30)))
  for (const each of frames) {
    bringBack(each)
    count(each)
  }
  showTool()
  show(frame)
  new ResizeObserver(fit).observe(here("stage"))
  addEventListener("resize", fit)
}

begin()
