// The page of the attention explorer: its controls, its address, the hands on it, and how it opens.
//
// 1. controls       what there is to choose, and what is chosen
// 2. address        the state as the part of the link behind #, and back
// 3. doings         what buttons and keys do
// 4. hands          clicks, pointers, keys
// 5. opening        openExplorer(root, given)

const PLAY = 700 // milliseconds for each frame
const SAID = 5000 // milliseconds that what was done is told

// 1. Controls ------------------------------------------------------------------------------------

const distinct = values => [...new Set(values)]

// What there is to choose of a view: [value, words] for each choice, in order
function choicesOf(explorer, view) {
  const network = explorer.network(view)
  const [here, named] = [explorer.looks(view), network.looks.filter(look => look.name === view.map)]
  const [first] = here.length ? here : named
  const object = here.some(look => look.object === view.object) ? view.object : first.object
  const about = here.filter(look => look.object === object)
  return {
    net: explorer.networks.map(each => [each.name, each.name]),
    map: distinct(network.looks.map(look => look.name)).map(name => [name, name]),
    head: first.headNames.map((name, i) => [i, name === "mean" && first.heads > 1 ? "mean of all" : name]),
    object: distinct(here.map(look => look.object)).map(label => [label, label === null ? "all" : nameOf(label)]),
    asks: distinct(about.map(look => look.frame)).map(frame => [frame, `frame ${frame}`]),
  }
}

const KEPT = ["net", "map"] // shown even where there is one only

function fillChoices(explorer, view, section) {
  const choices = choicesOf(explorer, view)
  const answer = explorer.answer(view, explorer.point)
  const { object = null, frame = null } = answer?.look ?? {}
  const chosen = { ...view, head: answer?.head ?? 0, object, asks: frame }
  for (const [name, options] of Object.entries(choices)) {
    const select = section.querySelector(`[data-choice=${name}]`)
    const texts = options.map(([value, words]) => make("option", { value: String(value) }, words))
    if (select.innerText !== texts.map(text => text.innerText).join("\n")) select.replaceChildren(...texts)
    select.value = String(chosen[name])
    const own = name === "asks" && answer?.look.frame === explorer.frame
    select.parentElement.hidden = options.length < 2 && !KEPT.includes(name) && (own || name !== "asks")
  }
  const kinds = explorer.given.words?.kinds ?? {}
  const { kind: own = "", name = "" } = answer?.look ?? {}
  const last = name.split("/").at(-1)
  const kind = kinds[last] ?? kinds[last.replace(/\d+$/, "")] ?? kinds[own]
  section.querySelector(".kind").textContent = kind ?? ""
}

function choose(explorer, select) {
  const at = [...explorer.sections].findIndex(section => section.contains(select))
  const view = explorer.views[at]
  const name = select.dataset.choice
  const [value] = choicesOf(explorer, view)[name].find(([each]) => String(each) === select.value)
  view[name] = value
  if (name === "net") {
    const names = explorer.network(view).looks.map(look => look.name)
    if (!names.includes(view.map)) view.map = names.at(-1)
    Object.assign(view, { head: 0, asks: null })
  }
  if (name === "map") Object.assign(view, { head: 0, asks: null })
  if (at === (explorer.turned?.view ?? -1)) explorer.turned = null
}

function showSwitches(explorer) {
  const { panels, turned, views, root } = explorer
  const beside = Object.fromEntries(PANELS.map(name => [name, panels.has(name)]))
  const on = { turn: turned, compare: views.length > 1, ...beside }
  for (const [name, pressed] of Object.entries(on)) {
    root.querySelector(`.toggles [data-do=${name}]`).setAttribute("aria-pressed", Boolean(pressed))
  }
  for (const name of CARDS) root.querySelector(`.card.${name}`).hidden = !panels.has(name)
  const { steps } = explorer.network(views[0])
  const slider = root.querySelector(".slider")
  slider.max = steps.length - 1
  slider.value = steps.indexOf(explorer.frame)
  slider.disabled = steps.length < 2
  slider.setAttribute("aria-valuetext", `frame ${explorer.frame}`)
  root.querySelector(".time output").textContent = `frame ${explorer.frame}`
  root.querySelector(".brightest").value = explorer.brightest
  const play = root.querySelector("[data-do=play]")
  play.textContent = explorer.playing ? "\u275a\u275a" : "\u25b6\ufe0e"
  play.setAttribute("aria-label", explorer.playing ? "Pause" : "Play")
  showStop(explorer)
}

// 2. Address -------------------------------------------------------------------------------------

// Of several explorers in one document, those after the first have their number before each name
function prefixOf({ root }) {
  const at = [...document.querySelectorAll(".explorer")].indexOf(root)
  return at > 0 ? `${at + 1}.` : ""
}

function addressOf(explorer) {
  const { views, frame, panels, turned, brightest, stop } = explorer
  const answer = explorer.answer(views[0], explorer.point)
  const words = { net: views[0].net, map: views[0].map, frame, view: [...panels].join() || "plain" }
  if (answer) {
    words.head = answer.look.headNames[answer.head]
    words.cell = answer.cell.join()
    if (answer.look.object !== null) words.obj = answer.look.object
    if (answer.look.frame !== frame) words.asks = answer.look.frame
  }
  if (brightest !== "own") words.scale = brightest
  if (turned) {
    const cells = explorer.answer(views[turned.view], explorer.point)?.answering
    if (cells) words.memory = `${turned.frame}:${cells.at(turned.point)}${turned.view ? ":2" : ""}`
  }
  const [, other] = views
  if (other) words.with = joined([other.net, other.map, other.head, other.object ?? "", other.asks ?? ""])
  if (stop !== null) words.tour = stop + 1
  return words
}

// Parts in one word, whatever their names hold, and back
const joined = parts => parts.map(part => String(part).replace(/[%:]/g, encodeURIComponent)).join(":")
const parted = word => word.split(":").map(part => part.replace(/%(25|3A)/g, decodeURIComponent))

function writeAddress(explorer) {
  if (!explorer.hash || !explorer.networks.length) return
  const prefix = prefixOf(explorer)
  const mine = Object.entries(addressOf(explorer)).map(([name, value]) => [prefix + name, String(value)])
  const others = [...new URLSearchParams(location.hash.slice(1))].filter(([name]) => ownerOf(name) !== prefix)
  const plain = value => encodeURIComponent(value).replace(/%(2F|2C|3A)/g, decodeURIComponent)
  const words = [...others, ...mine].map(([name, value]) => `${name}=${plain(value)}`)
  explorer.address = `#${words.join("&")}`
  try {
    history.replaceState(history.state, "", explorer.address)
  } catch {
    explorer.hash = false // a page inside a notebook has no address of its own
  }
}

const ownerOf = name => name.match(/^\d+\./)?.[0] ?? ""

function readAddress(explorer) {
  if (!explorer.hash || !explorer.networks.length) return
  const prefix = prefixOf(explorer)
  const mine = [...new URLSearchParams(location.hash.slice(1))].filter(([name]) => ownerOf(name) === prefix)
  const asked = Object.fromEntries(mine.map(([name, value]) => [name.slice(prefix.length), value]))
  const missing = obey(explorer, asked)
  const card = CARDS.find(name => explorer.panels.has(name))
  if (card) reveal(explorer, card)
  const words = `The link asks for what is not on this page: ${missing.join(", ")}. The rest is shown.`
  if (missing.length) explorer.say(words, "message link")
}

// Take over what an address asks for, as far as it is there; the rest is returned in words
function obey(explorer, asked) {
  const missing = []
  const take = (name, found, use) => {
    if (asked[name] === undefined) return
    if (found === undefined || found === null || found === -1) missing.push(`${name}=${asked[name]}`)
    else use(found)
  }
  const [view] = explorer.views
  take("net", explorer.networks.find(each => each.name === asked.net), ({ name }) => (view.net = name))
  const network = explorer.network(view)
  const names = network.looks.map(look => look.name)
  if (!names.includes(view.map)) view.map = names.at(-1)
  take("map", names.find(name => name === asked.map), name => (view.map = name))
  take("frame", network.steps.find(step => String(step) === asked.frame), step => (explorer.frame = step))
  const looks = explorer.looks(view)
  take("head", looks[0]?.headNames.indexOf(asked.head), head => (view.head = head))
  take("obj", looks.find(look => String(look.object) === asked.obj), look => (view.object = look.object))
  take("asks", looks.find(look => String(look.frame) === asked.asks), look => (view.asks = look.frame))
  const answer = explorer.answer(view, explorer.point)
  take("cell", cellOf(asked.cell, answer?.asking), cell => (explorer.point = answer.asking.centre(cell)))
  const panels = asked.view?.split(",").filter(name => name !== "plain")
  const there = panels?.every(name => PANELS.includes(name))
  take("view", there ? panels : null, names => (explorer.panels = new Set(names)))
  take("scale", ["own", "shared", "log"].find(each => each === asked.scale), scale => (explorer.brightest = scale))
  take("with", viewOf(explorer, asked.with), other => explorer.compare(other))
  take("memory", memoryOf(explorer, asked.memory), turned => (explorer.turned = turned))
  take("tour", stopOf(explorer, asked.tour), stop => (explorer.stop = stop))
  const known = ["net", "map", "frame", "head", "obj", "asks", "cell", "view", "scale", "with", "memory", "tour"]
  const others = Object.keys(asked).filter(name => !known.includes(name) && asked[name])
  return [...missing, ...others]
}

function cellOf(text, cells) {
  const cell = text?.split(",").map(Number)
  return cells && cell?.length === 2 && cells.has(cell) ? cell : null
}

function viewOf(explorer, text) {
  const [net, map, head, object, asks] = parted(text ?? "")
  const number = word => (word ? Number(word) : null)
  const there = explorer.networks.find(each => each.name === net)?.looks.some(look => look.name === map)
  return there ? { net, map, head: Number(head) || 0, object: number(object), asks: number(asks) } : null
}

function memoryOf(explorer, text) {
  const [frame, cell, which] = text?.split(":") ?? []
  const view = which === "2" ? 1 : 0
  const answer = explorer.views[view] && explorer.answer(explorer.views[view], explorer.point)
  const place = cellOf(cell, answer?.answering)
  if (!place || !answer.look.keyFrames.includes(Number(frame))) return null
  return { view, frame: Number(frame), point: answer.answering.centre(place) }
}

const stopOf = (explorer, text) => (tourOf(explorer)?.stops[Number(text) - 1] ? Number(text) - 1 : null)

// 3. Doings --------------------------------------------------------------------------------------

const DO = {
  turn: explorer => (explorer.turned ? (explorer.turned = null) : explorer.turn()),
  geometry: explorer => toggle(explorer.panels, "geometry"),
  flow: explorer => showCard(explorer, "flow"),
  identities: explorer => showCard(explorer, "identities"),
  compare: explorer => explorer.compare(explorer.views[1] ? null : explorer.otherView()),
  play: explorer => (explorer.playing ? pause(explorer) : play(explorer)),
  tour: explorer => (explorer.stop === null ? startTour(explorer) : (explorer.stop = null)),
  next: explorer => goToStop(explorer, explorer.stop + 1),
  back: explorer => goToStop(explorer, explorer.stop - 1),
  words: explorer => showWords(explorer.find(".words"), explorer.given),
  png: savePicture,
  link: copyLink,
}

// True if the name is there from now on
const toggle = (names, name) => !names.delete(name) && Boolean(names.add(name))

function showCard(explorer, name) {
  if (toggle(explorer.panels, name)) reveal(explorer, name)
}

function step(explorer, by) {
  const { steps } = explorer.network(explorer.views[0])
  explorer.frame = steps[(steps.indexOf(explorer.frame) + by + steps.length) % steps.length]
  explorer.views.forEach(view => (view.asks = null))
}

function play(explorer) {
  explorer.playing = setInterval(() => {
    if (!explorer.root.isConnected) return pause(explorer)
    step(explorer, 1)
    explorer.settle()
  }, PLAY)
}

function pause(explorer) {
  clearInterval(explorer.playing)
  explorer.playing = null
}

async function savePicture(explorer) {
  const { root, given, views, frame } = explorer
  const [scene, style] = [explorer.find(".scene"), getComputedStyle(root)]
  scene.classList.add("printing") // nothing scrolls
  explorer.drawAll()
  const drawn = asPNG(scene, titlesOf(explorer), style.backgroundColor, style.color)
  scene.classList.remove("printing")
  explorer.draw()
  const name = `${given.title} ${views[0].net} ${views[0].map} frame ${frame}.png`.replace(/[^\w.-]+/g, "_")
  const link = make("a", { href: URL.createObjectURL(await drawn), download: name })
  link.click()
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000)
}

async function copyLink(explorer) {
  writeAddress(explorer)
  const link = explorer.hash ? location.href : explorer.address
  const copied = await navigator.clipboard?.writeText(link).then(() => true, () => false)
  explorer.find(".message.link")?.remove()
  const said = explorer.say(copied ? `Copied: ${link}` : `The link: ${link}`, "message link done")
  if (copied) setTimeout(() => said.remove(), SAID)
}

// 4. Hands ---------------------------------------------------------------------------------------

function listen(explorer) {
  const { root } = explorer
  root.addEventListener("click", event => {
    const stop = event.target.closest("[data-stop]")
    const button = event.target.closest("[data-do]")
    const memory = event.target.closest(".strip canvas")
    if (stop) did(explorer, () => goToStop(explorer, Number(stop.dataset.stop)))
    else if (button) did(explorer, DO[button.dataset.do])
    else if (memory) did(explorer, () => askMemory(explorer, memory, event))
  })
  root.addEventListener("change", event => {
    const { target } = event
    if (target.dataset.choice) did(explorer, () => choose(explorer, target))
    if (target.matches(".brightest")) did(explorer, () => (explorer.brightest = target.value))
    if (target.matches(".follow")) explorer.draw()
  })
  root.querySelector(".slider").addEventListener("input", ({ target }) => {
    pause(explorer)
    const { steps } = explorer.network(explorer.views[0])
    did(explorer, () => step(explorer, Number(target.value) - steps.indexOf(explorer.frame)))
  })
  listenToAsking(explorer)
  listenToPage(explorer)
}

// What lies outside of the explorer is heard until it is closed
function listenToPage(explorer) {
  const { signal } = explorer.life
  const draw = () => explorer.draw()
  document.addEventListener("keydown", event => press(explorer, event), { signal })
  addEventListener("scroll", draw, { passive: true, capture: true, signal })
  addEventListener("hashchange", () => followLink(explorer), { signal })
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw, { signal })
  const observer = new ResizeObserver(draw)
  observer.observe(explorer.root)
  signal.addEventListener("abort", () => observer.disconnect())
}

function followLink(explorer) {
  if (location.hash === explorer.address || !explorer.networks.length) return
  explorer.find(".messages").replaceChildren()
  Object.assign(explorer, { turned: null, stop: null })
  explorer.compare(null)
  readAddress(explorer)
  explorer.settle()
}

function did(explorer, something) {
  if (!explorer.networks.length) return
  something(explorer)
  explorer.settle()
}

function listenToAsking(explorer) {
  const { asking } = explorer
  asking.canvas.addEventListener("click", event => {
    did(explorer, () => Object.assign(explorer, { point: asking.point(event), turned: null, hover: null }))
  })
  asking.canvas.addEventListener("pointermove", event => {
    if (event.pointerType !== "mouse" || explorer.turned) return
    explorer.hover = asking.point(event)
    explorer.draw()
  })
  asking.canvas.addEventListener("pointerleave", () => {
    explorer.hover = null
    explorer.draw()
  })
}

function askMemory(explorer, canvas, event) {
  const view = [...explorer.sections].findIndex(section => section.contains(canvas))
  const at = event ? new Picture(canvas, explorer.given.size).point(event) : null
  explorer.turn(view, Number(canvas.dataset.frame), at)
}

const SHOWN = { r: "turn", g: "geometry", f: "flow", i: "identities", c: "compare" }
const KEYS = { ...SHOWN, t: "tour", p: "png", "?": "words", " ": "play" }
const MOVES = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }

function press(explorer, event) {
  const { key, target } = event
  const { root } = explorer
  const outside = target === document.body && document.querySelector(".explorer") === root
  if (outside && (MOVES[key] || key === " ") && !isInSight(explorer.asking.canvas)) return // they scroll the page
  if (!(root.contains(target) || outside) || isShortcut(event)) return
  const slides = target.matches("[type=range]") && !MOVES[key]
  if ((target.closest("select, input, dialog, textarea") && !slides) || !explorer.networks.length) return
  if ([" ", "Enter"].includes(key) && target.closest("button, summary, a")) return
  const doing = doingOf(explorer, key, target)
  if (!doing) return
  event.preventDefault()
  did(explorer, doing)
}

function isInSight(element) {
  const { top, bottom } = element.getBoundingClientRect()
  return bottom > 0 && top < innerHeight
}

// Of the browser. On many keyboards [ and ] are typed with AltGr, which counts as Ctrl and Alt, or with Option
function isShortcut(event) {
  const types = event.getModifierState("AltGraph") || (event.altKey && !event.ctrlKey && "[]".includes(event.key))
  return event.metaKey || ((event.ctrlKey || event.altKey) && !types)
}

function doingOf(explorer, key, target) {
  const name = key.length === 1 ? key.toLowerCase() : key
  if (KEYS[name]) return DO[KEYS[name]]
  if (MOVES[name]) return () => move(explorer, MOVES[name])
  if (name === "Enter" && target.matches(".strip canvas")) return () => askMemory(explorer, target)
  const other = {
    Escape: () => (explorer.turned = null),
    ",": () => step(explorer, -1),
    ".": () => step(explorer, 1),
    "[": () => nextOf(explorer, "map", -1),
    "]": () => nextOf(explorer, "map", 1),
    h: () => nextOf(explorer, "head", 1),
  }
  return other[name]
}

// The next of the choices there are, after the last the first
function nextOf(explorer, name, by) {
  const select = explorer.sections[0].querySelector(`[data-choice=${name}]`)
  const { length } = select.options
  select.selectedIndex = (select.selectedIndex + by + length) % length
  choose(explorer, select)
}

// Move the chosen cell, of memory after turning round, by one cell; it stays in the frame
function move(explorer, by) {
  const { turned, views } = explorer
  explorer.hover = null
  const answer = explorer.answer(views[turned?.view ?? 0], explorer.point)
  if (!answer) return
  const cells = turned ? answer.answering : answer.asking
  const at = cells.at(turned?.point ?? explorer.point)
  const cell = at.map((place, axis) => clip(place + by[axis], 0, cells.grid[axis] - 1))
  if (turned) turned.point = cells.centre(cell)
  else explorer.point = cells.centre(cell)
}

// 5. Opening -------------------------------------------------------------------------------------

// Fill an element that holds explorer.html; `hash`: keep the state in the link, `chosen`: told every new state
async function openExplorer(root, given, options = {}) {
  root.dataset.opened = "yes"
  const tell = text => root.querySelector(".messages").append(make("p", { className: "message" }, text))
  if (!globalThis.DecompressionStream) return tell("This browser is too old for this page: use one of 2023 or later.")
  try {
    return new Scene(root, given, await Exploration.open(given), options)
  } catch (error) {
    tell(`The page cannot show its data: ${error.message}`)
    throw error
  }
}

for (const root of globalThis.document?.querySelectorAll(".explorer:not([data-opened])") ?? []) {
  const given = root.querySelector("script.given")
  if (given) openExplorer(root, JSON.parse(given.textContent))
}

export { openExplorer }
