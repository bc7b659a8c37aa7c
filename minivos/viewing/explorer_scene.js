// The scene of the attention explorer: what is chosen, what follows from it, how it is drawn.
//
// A view is one attention: {net, map, head, object, asks}; the second one is there while two are compared. Its answer
// is what the chosen cell finds by it.
// A point is [y, x] in pixels of the frames: it stays when grids change, and names the cell it falls into.

const CARDS = ["flow", "identities"] // figures below the scene
const PANELS = ["geometry", ...CARDS] // what can be shown besides
const MATCHES = 5
const ALIVE = 150 // milliseconds without change after which the link is written

// One explorer on a page, which was made by an Explorer of Python
class Scene {
  constructor(root, given, exploration, { hash = true, chosen = null } = {}) {
    Object.assign(this, { root, given, exploration, hash, chosen })
    this.colours = given.colours
    this.start = given.start ?? given.frames[0]?.number // the frame whose masks were given
    this.images = new Map()
    this.panels = new Set(["geometry"])
    this.brightest = "own"
    this.turned = this.hover = this.stop = this.playing = this.toReveal = null
    this.facts = [] // an element for each view
    this.asking = new Picture(this.find(".asking"), given.size)
    this.find(".title").textContent = given.title
    root.style.setProperty("--aspect", given.size[1] / given.size[0])
    for (const { number, picture } of given.frames) {
      const image = new Image()
      image.onload = () => this.draw()
      image.src = picture
      this.images.set(number, image)
    }
    this.networks = exploration.networks.filter(network => network.looks.length)
    this.tellLimits()
    this.addView()
    this.begin()
    readAddress(this)
    this.life = new AbortController()
    listen(this)
    this.settle()
  }

  // For who takes the page away, such as a notebook
  close() {
    this.life.abort()
    pause(this)
  }

  find(selector) {
    return this.root.querySelector(selector)
  }

  say(text, kind = "message") {
    const said = make("p", { className: kind }, text)
    this.find(".messages").append(said)
    return said
  }

  // Begin in the middle of the main object, in the middle of time
  begin() {
    const [network] = this.networks
    if (!network) return
    this.frame = network.steps[network.steps.length >> 1]
    const first = this.mainLook(network)
    const here = network.looks.filter(look => look.step === this.frame)
    const cells = this.exploration.asking(network, first)
    const object = this.exploration.mainObject(network, first.frame, cells)
    const named = here.filter(each => each.name === first.name)
    const look = named.find(each => each.object === object) ?? named[0]
    this.views = [{ net: network.name, map: look.name, head: 0, object: look.object, asks: null }]
    this.compare(null)
    const middle = this.exploration.amid(network, look.frame, object, cells)
    this.point = middle ? cells.centre(middle) : this.given.size.map(side => (side - 1) / 2)
  }

  // Of the reads of the current frame, the last of those that look at most frames. Where as many are looked at, that
  // which sees the first frame, whose masks were given, and all cells of it
  mainLook(network) {
    const here = network.looks.filter(look => look.step === this.frame)
    const reads = (here.length ? here : network.looks).filter(look => isRead(look, network))
    const rank = look => 2 * look.times + look.keyFrames.includes(this.start)
    const best = reads.filter(look => rank(look) === Math.max(...reads.map(rank)))
    const last = best.at(-1) ?? here.at(-1) ?? network.looks.at(-1)
    return best.findLast(look => !look.cells && `${look.fullKeyGrid}` === `${last.fullKeyGrid}`) ?? last
  }

  // What to compare with: the main read of the next network; of one network, a read of the same kind, or else another
  otherView() {
    const [view] = this.views
    const next = this.networks.find(network => network.name !== view.net)
    if (next) {
      const { name } = this.mainLook(next)
      const named = next.looks.filter(look => look.name === name)
      const own = this.answer(view, this.point)?.own
      const { object } = named.find(look => look.object === own) ?? named[0]
      return { net: next.name, map: name, head: 0, object, asks: null }
    }
    const network = this.network(view)
    const others = network.looks.filter(look => look.name !== view.map)
    const reads = others.filter(look => isRead(look, network))
    const { kind } = network.looks.find(look => look.name === view.map)
    const other = reads.findLast(look => look.kind === kind) ?? reads.at(-1) ?? others.at(-1)
    return { ...view, head: 0, map: other?.name ?? view.map }
  }

  tellLimits() {
    const { frames, objects, networks } = this.given
    if (frames.length < 2) this.say("The clip has one frame: there is no memory that a later frame could look at.")
    const silent = networks.filter(network => !network.maps.length).map(network => network.name)
    if (silent.length) this.say(`No attention was recorded of ${silent.join(", ")}: nothing can be shown of it.`)
    const { length } = this.colours
    const again = `from object ${length} on colours come again. Their numbers tell them apart.`
    if (Math.max(0, ...objects) >= length) this.say(`There are more objects than colours: ${again}`)
    this.root.classList.toggle("empty", !this.networks.length)
    const noted = networks.filter(({ note }) => note.length)
    const notes = noted.map(({ name, note }) => make("p", {}, `${name}: ${note.join(" ")}`))
    this.find(".notes").replaceChildren(...notes)
  }

  network(view) {
    return this.networks.find(network => network.name === view.net)
  }

  // The maps of a view's name while the current frame was read
  looks(view) {
    return this.network(view).looks.filter(look => look.name === view.map && look.step === this.frame)
  }

  // What the chosen cell of a view asks, and all that is known of where it looks
  answer(view, point = this.hover ?? this.point) {
    const network = this.network(view)
    const looks = this.looks(view)
    const about = looks.filter(look => look.object === view.object)
    const asked = about.length ? about : looks
    const look = asked.find(each => each.frame === (view.asks ?? this.frame)) ?? asked.at(-1)
    if (!look) return null
    const { exploration } = this
    const [asking, answering] = [exploration.asking(network, look), exploration.answering(network, look)]
    const [head, cell] = [Math.min(view.head, look.heads - 1), asking.at(point)]
    const query = asking.number(cell)
    const row = look.row(query, head)
    const known = { view, network, look, looks, asking, answering, head, cell, query, row }
    const turned = this.turned && this.views[this.turned.view] === view ? this.turnedIn(known) : null
    return Object.assign(known, turned, this.numbers(known))
  }

  numbers({ network, look, asking, answering, head, cell, query, row }) {
    const { exploration } = this
    const points = exploration.points(network, look, cell)
    const best = topMatches(row, look.times, MATCHES)
    return {
      points,
      own: exploration.labelIn(exploration.labels(network, look.frame), asking, cell),
      truly: exploration.labelIn(exploration.truth(look.frame), asking, cell),
      spread: spread(row),
      bits: entropy(row),
      shares: exploration.objectShares(network, look, query, head),
      near: nearPoint(row, points.map(at => at && answering.at(at)), answering.grid),
      perFrame: frameShares(row, look.times),
      matches: best.map(each => ({ ...each, frame: look.keyFrames[each.time], cell: answering.cell(each.number) })),
    }
  }

  // The memory cell that was asked about, and what every cell takes from it
  turnedIn({ look, answering, head }) {
    const time = look.keyFrames.indexOf(this.turned.frame)
    if (time < 0) return null
    const cell = answering.at(this.turned.point)
    const key = time * answering.count + answering.number(cell)
    return { turned: { frame: this.turned.frame, time, cell, key }, taken: look.column(key, head) }
  }

  draw() {
    this.waiting ??= requestAnimationFrame(() => {
      this.waiting = null
      if (this.networks.length && this.root.isConnected) this.drawAll()
      else this.drawFirst()
    })
  }

  // Without any map: the picture alone
  drawFirst() {
    if (this.given.frames.length && this.asking.fit()) this.asking.frame(this.images.get(this.given.frames[0].number))
  }

  drawAll() {
    const answers = this.views.map(view => this.answer(view))
    this.drawAsking(answers[this.turned?.view ?? 0] ?? answers[0])
    answers.forEach((each, i) => this.drawStrip(each, i, answers))
    this.root.style.setProperty("--tour", `${this.find(".tour").offsetHeight}px`)
    this.drawLines(answers)
    const [first] = answers
    if (first && this.panels.has("flow")) drawFlow(this.find(".flow"), this, first)
    if (first && this.panels.has("identities")) drawIdentities(this.find(".identities"), this, first)
    this.toReveal?.()
    this.toReveal = null
  }

  // The weight that shines brightest
  peak(answer, all) {
    if (this.brightest === "shared") return Math.max(...all.filter(Boolean).map(each => each.look.peak(each.head)))
    return Math.max(...(answer.taken ?? answer.row)) || 1
  }

  drawAsking(answer) {
    const frame = answer?.look.frame ?? this.frame
    const title = answer && frame !== this.frame ? `Frame ${frame}, in memory, asks` : `Frame ${frame} asks`
    this.find(".now h3").textContent = title
    this.find(".whose").textContent = answer ? `outlines: masks of ${answer.network.name}` : ""
    if (!this.asking.fit()) return
    this.asking.frame(this.images.get(frame), answer?.taken ? 0.55 : 0)
    if (!answer) return
    const { network, look, asking, cell, taken, turned } = answer
    if (taken) {
      const [peak, scale] = [this.peak(answer, [answer]), this.scale]
      this.asking.heat(asking, i => scale.to(taken[i] / peak))
      const sees = this.panels.has("geometry") && look.seenBy(turned.key)
      if (sees) this.asking.pattern(asking, sees)
    }
    this.asking.objects(this.outlines(network, frame), this.colours)
    if (!taken) this.asking.cell(asking, cell)
  }

  outlines(network, frame) {
    return outlines(this.exploration.labels(network, frame), this.given.size, this.given.objects)
  }

  get scale() {
    return this.brightest === "log" ? SCALES.log : SCALES.root
  }

  drawStrip(answer, at, all) {
    const section = this.sections[at]
    const strip = section.querySelector(".strip")
    const title = section.querySelector("h3")
    if (!answer) {
      title.textContent = `Nothing was recorded at frame ${this.frame}`
      strip.replaceChildren()
      this.facts[at].replaceChildren()
      return
    }
    const { look, turned } = answer
    title.textContent = turned ? `The memory cell that is asked about` : `Where the cell looks`
    if (strip.dataset.frames !== `${look.step} ${look.frame} ${look.keyFrames}`) this.buildStrip(strip, look)
    look.keyFrames.forEach((_, time) => this.drawMemory(answer, strip.children[time], time, all))
    this.drawScale(section, answer, all)
    this.showFacts(answer, at)
  }

  buildStrip(strip, look) {
    strip.dataset.frames = `${look.step} ${look.frame} ${look.keyFrames}`
    const name = frame => {
      if (frame === look.frame) return `Frame ${frame}, itself`
      if (frame === look.step) return `Frame ${frame}, the current one`
      if (frame === this.start) return `Frame ${frame}, the first`
      return frame === look.step - 1 ? `Frame ${frame}, just before` : `Frame ${frame}`
    }
    const figures = look.keyFrames.map(frame => {
      const canvas = make("canvas", { tabIndex: 0, role: "img" })
      canvas.dataset.frame = frame
      const caption = make("figcaption", {}, make("span", {}, name(frame)), make("strong"), bar(0))
      return make("figure", {}, canvas, caption)
    })
    strip.replaceChildren(...figures)
  }

  drawMemory(answer, figure, time, all) {
    const { network, look, answering, row, query, perFrame, points, turned, matches } = answer
    const frame = look.keyFrames[time]
    const share = percent(perFrame[time])
    figure.querySelector("strong").replaceChildren(...(turned ? [] : [share, make("span", {}, " of the weight")]))
    figure.querySelector(".share").hidden = Boolean(turned)
    figure.querySelector(".share i").style.width = `${100 * perFrame[time]}%`
    const canvas = figure.querySelector("canvas")
    canvas.setAttribute("aria-label", `Frame ${frame}: ${share} of the weight`)
    const picture = new Picture(canvas, this.given.size)
    if (!picture.fit()) return
    picture.frame(this.images.get(frame), turned ? 0 : 0.5)
    const first = time * answering.count
    if (!turned) {
      const [peak, scale] = [this.peak(answer, all), this.scale]
      picture.heat(answering, i => scale.to(row[first + i] / peak))
      const sees = this.panels.has("geometry") && look.visible(query)
      if (sees) picture.pattern(answering, sees.subarray(first, first + answering.count))
    }
    picture.objects(this.outlines(network, frame), this.colours)
    if (turned?.time === time) picture.cell(answering, turned.cell)
    if (turned) return
    matches.forEach((match, i) => match.time === time && picture.letter(answering, match.cell, letterOf(i)))
    if (points[time]) picture.target(points[time])
  }

  showFacts(answer, at) {
    const facts = factsOf(answer, this)
    this.facts[at].replaceChildren(...facts.map(([element]) => element))
    const frames = answer.perFrame.map((share, t) => `frame ${answer.look.keyFrames[t]} ${percent(share)}`)
    const said = [`${answer.view.net}, ${answer.look.name}.`, ...facts.map(([, words]) => words)]
    if (!answer.turned) said.push(`Weight per frame: ${frames.join(", ")}.`)
    if (!this.hover && at === 0) this.summary = said.filter(Boolean).join(" ")
  }

  drawScale(section, answer, all) {
    drawScale(section.querySelector(".bar"))
    const peak = this.peak(answer, all)
    const least = this.brightest === "log" ? "1/1000 of it" : percent(0)
    const texts = [least, percent(peak * this.scale.back(0.5)), `${percent(peak)} of the weight`]
    section.querySelectorAll(".ticks span").forEach((tick, i) => (tick.textContent = texts[i]))
  }

  // From the asking cell to its best matches, where the memory stands beside it; behind words and marked cells
  drawLines([each, other]) {
    const svg = this.find(".lines")
    const scene = svg.getBoundingClientRect()
    const inScene = ({ left, top, width, height }) => [left - scene.left, top - scene.top, width, height]
    const boxOf = (canvas, cells, cell) => {
      const [left, top, width] = inScene(canvas.getBoundingClientRect())
      const scale = width / this.given.size[1]
      const [[up, down], [west, east]] = cell.map((place, axis) => cells.edges(place, axis))
      return [left + (west + 0.5) * scale, top + (up + 0.5) * scale, (east - west) * scale, (down - up) * scale]
    }
    const middle = ([left, top, width, height]) => [left + width / 2, top + height / 2]
    const side = this.asking.canvas.getBoundingClientRect().right
    const beside = this.sections[0].getBoundingClientRect().left > side
    if (!each?.matches.length || each.turned || other || !beside) return svg.replaceChildren()
    const figures = this.sections[0].querySelectorAll(".strip figure")
    const from = boxOf(this.asking.canvas, each.asking, each.cell)
    const marked = each.matches.map(({ time, cell }) => {
      return boxOf(figures[time].querySelector("canvas"), each.answering, cell)
    })
    const words = this.sections[0].querySelectorAll(".choose, .kind, .head, figcaption")
    const behind = Array.from(words, element => inScene(element.getBoundingClientRect()))
    const ends = marked.map((box, i) => [...middle(box), each.matches[i].weight / each.matches[0].weight])
    drawLines(svg, middle(from), side - scene.left, ends, [from, ...marked, ...behind])
  }

  // What was chosen holds from now on: controls show it, screen readers hear it, the link keeps it
  settle() {
    if (this.networks.length) {
      if (this.turned && !this.answer(this.views[this.turned.view], this.point)?.turned) this.turned = null
      this.views.forEach((view, i) => fillChoices(this, view, this.sections[i]))
      showSwitches(this)
    }
    this.draw()
    clearTimeout(this.alive)
    this.alive = setTimeout(() => {
      this.find(".summary").textContent = this.summary ?? ""
      writeAddress(this)
      this.chosen?.(this.state())
    }, ALIVE)
  }

  // For who uses the page from outside, such as a notebook
  state() {
    const answer = this.networks.length ? this.answer(this.views[0], this.point) : null
    if (!answer) return null
    const { view, look, head, cell, row } = answer
    return {
      net: view.net,
      map: look.name,
      head: look.headNames[head],
      object: look.object,
      frame: look.step,
      asks: look.frame,
      cell,
      weights: Array.from(row),
      keyGrid: look.keyGrid,
      keyFrames: look.keyFrames,
    }
  }

  get sections() {
    return this.root.querySelectorAll("section.view")
  }

  addView() {
    this.find(".scene").append(this.find("template.view").content.cloneNode(true))
    this.facts.push(make("div", { className: "facts" }))
  }

  // Compare with a second view, or be back at one, whose facts stand beside the frame that asks
  compare(view) {
    this.views = view ? [this.views[0], view] : [this.views[0]]
    if (view && this.sections.length < 2) this.addView()
    if (!view) for (const part of [this.sections[1], this.facts.splice(1)[0]]) part?.remove()
    this.find(".scene").classList.toggle("two", Boolean(view))
    if (view) this.facts.forEach((facts, i) => this.sections[i].querySelector(".strip").before(facts))
    else this.find(".now").append(...this.facts)
    if (this.turned?.view) this.turned = null
  }

  // Ask who looks at a memory cell; without one, at the best match of the chosen cell, in that frame if given
  turn(view = 0, frame = null, point = null) {
    const answer = this.answer(this.views[view], this.point)
    if (!answer) return
    const { look, answering, row, matches } = answer
    const time = frame === null ? matches[0]?.time ?? 0 : look.keyFrames.indexOf(frame)
    const weights = row.subarray(time * answering.count, (time + 1) * answering.count)
    const best = answering.cell(weights.indexOf(Math.max(...weights)))
    this.turned = { view, frame: look.keyFrames[time], point: point ?? answering.centre(best) }
  }

  apply({ views, frame, point, turn, panels }) {
    Object.assign(this, { frame, point, turned: null, hover: null })
    this.views = [views[0]]
    this.compare(views[1])
    this.panels = new Set(PANELS.filter(name => panels[name] ?? name === "geometry"))
    if (turn) this.turn()
    this.settle()
  }
}
