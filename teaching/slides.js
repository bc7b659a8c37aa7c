// The keys stand in the list that ? opens (page_of in slides.py); a swipe moves too. The hash is the slide.
const slides = [...document.querySelectorAll(".slide")], body = document.body
const narrow = matchMedia("(max-width: 700px)")
const root = document.documentElement
let at = 0, all = false
try { root.dataset.theme = localStorage.getItem("theme") || "auto" } catch {} // as the button of the site has left it

function fit() {
  body.classList.toggle("stage", !narrow.matches && !all)
  body.classList.toggle("all", narrow.matches || all)
  const height = innerHeight * (body.classList.contains("said") ? 0.7 : 1)
  const scale = Math.min(innerWidth / 1280, height / 720)
  body.style.setProperty("--scale", scale)
  body.style.setProperty("--left", `${(innerWidth - 1280 * scale) / 2}px`)
  body.style.setProperty("--top", `${(height - 720 * scale) / 2}px`)
}

function show(number) {
  at = Math.max(0, Math.min(slides.length - 1, number))
  slides.forEach((slide, n) => slide.classList.toggle("now", n === at))
  history.replaceState(null, "", `#${at + 1}`)
  slides[at].focus({preventScroll: !body.classList.contains("all")})
}

const first = () => Number(location.hash.slice(1)) - 1 || 0
const moves = {ArrowRight: 1, ArrowDown: 1, PageDown: 1, " ": 1, ArrowLeft: -1, ArrowUp: -1, PageUp: -1}
const commands = {
  home: () => show(0),
  end: () => show(slides.length - 1),
  s: () => { body.classList.toggle("said"); fit() },
  p: () => { all = !all; fit(); show(at) },
  "?": () => document.getElementById("help").togglePopover(),
  d: () => {
    const system = matchMedia("(prefers-color-scheme: dark)").matches
    const dark = {dark: true, light: false}[root.dataset.theme] ?? system
    root.dataset.theme = dark ? "light" : "dark"
  },
}

addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey) return
  if (event.key === " " && event.target.matches("button")) return
  const command = commands[event.key.toLowerCase()]
  if (command) command()
  else if (event.key in moves && body.classList.contains("stage")) show(at + moves[event.key])
  else return
  event.preventDefault()
})
let from = 0
addEventListener("touchstart", event => { from = event.changedTouches[0].clientX }, {passive: true})
addEventListener("touchend", event => {
  const way = event.changedTouches[0].clientX - from
  if (body.classList.contains("stage") && Math.abs(way) > 50) show(at - Math.sign(way))
})
document.getElementById("back").onclick = () => show(at - 1)
document.getElementById("on").onclick = () => show(at + 1)
addEventListener("resize", fit)
addEventListener("hashchange", () => show(first()))
fit()
show(first())
