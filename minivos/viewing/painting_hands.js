// What mouse, finger, pen, keys and buttons do.
//
// 1. what hands do     pointers, wheel, keys
// 2. tools             objects, brush, zoom, undo

const WHEEL = 200 // how far the wheel turns to enlarge twice
const STEP = 12 // pixels of the screen that an arrow key goes

// 1. What hands do -------------------------------------------------------------------------------

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

// 2. Tools ---------------------------------------------------------------------------------------

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
