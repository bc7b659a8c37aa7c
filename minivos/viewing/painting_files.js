// What is left of a painting: kept in the browser, saved as a file, with the next command.

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
  const fromStart = frames.some(each => each.first && isPainted(each))
  if (again) return "Take the latest file (its name may have a number more):"
  if (!fromStart) return "Give the masks of earlier frames again, too, if there are any:"
  return "With the saved file in the folder you work in, run:"
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
  const each = frame
  if (!isPainted(each) || each.saving) return
  each.saving = true
  each.unsaved = false // what is painted from now on is not in the file
  const file = await encodeMask(each.painting, inFile)
  if (await write(each, file)) each.saved++
  else each.unsaved = true
  each.saving = false
  keep(each)
  tell()
}

// Write the file where people choose, or else where the browser puts what it downloads
async function write(each, file) {
  if (window.showSaveFilePicker) {
    try {
      each.handle ??= await showSaveFilePicker({ suggestedName: each.file, types: [PNG] })
      const open = await each.handle.createWritable()
      await open.write(file)
      await open.close()
      each.file = each.handle.name
      return true
    } catch (error) {
      each.handle = undefined
      if (error.name === "AbortError") return false
    }
  }
  const link = document.createElement("a")
  link.href = URL.createObjectURL(file)
  link.download = each.file
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
  if (frames.some(each => each.saving || (each.unsaved && isPainted(each)))) event.preventDefault()
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
