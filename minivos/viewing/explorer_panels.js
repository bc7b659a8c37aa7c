// Parts of the explorer beside its scene; each shows what the explorer has chosen, and keeps nothing.
//
// 1. elements       pieces of the page
// 2. facts          the chosen cell in words and numbers
// 3. objects flow   every cell in the colours of what its weight lands on
// 4. identities     which identity has arrived: from block to block, over time; the bank's cosines
// 5. tour, words    guided stops, and what the words mean

// 1. Elements ------------------------------------------------------------------------------------

function make(kind, properties = {}, ...inside) {
  const element = document.createElement(kind)
  for (const [name, value] of Object.entries(properties)) {
    if (name in element) element[name] = value
    else element.setAttribute(name, value)
  }
  element.append(...inside)
  return element
}

function percent(share) {
  const hundred = 100 * share
  if (hundred === 0) return "0\u00a0%"
  if (hundred > 0 && hundred < 0.01) return "<\u00a00.01\u00a0%"
  return `${hundred.toFixed(hundred >= 9.95 ? 0 : hundred >= 0.995 ? 1 : 2)}\u00a0%`
}

const about = number => (number < 9.95 ? number.toFixed(1) : String(Math.round(number)))
const letterOf = rank => "abcdefgh"[rank] // of the best matches, in pictures and lists
const nameOf = label => (label === 0 ? "background" : label === VOID ? "nothing known" : `object ${label}`)
const isRead = (look, network) => !look.looksAtItself && look.frame === look.step && network.looks.includes(look)

// The number of an object in its colour, and words beside it
function chip(label, colours, words = "") {
  const colour = colourOf(label, colours)
  const number = make("b", { title: nameOf(label) }, String(label))
  number.style.background = css(colour)
  number.style.color = isLight(colour) ? "#000" : "#fff"
  return make("span", { className: "chip" }, number, words)
}

// After the next drawing: scroll to a card, or else to the pictures that are asked about, if they are not in sight
function reveal(explorer, card) {
  const picture = explorer.views.length > 1 ? ".strip canvas" : ".asking"
  explorer.toReveal = () => explorer.find(card ? `.card.${card}` : picture)?.scrollIntoView({ block: "nearest" })
}

// A bar from 0 to a share
function bar(share, colour = null) {
  const inside = make("i")
  inside.style.width = `${100 * clip(share, 0, 1)}%`
  if (colour) inside.style.background = css(colour)
  return make("div", { className: "share" }, inside)
}

// 2. Facts ---------------------------------------------------------------------------------------

const LEAST_TOLD = 5e-5 // shares of the weight below are told of no object

// What the page says of a cell, as [element, sentence] pairs; the sentences alone are for screen readers
function factsOf(answer, explorer) {
  if (answer.turned) return factsTurned(answer)
  const { given, panels } = explorer
  const told = [cellWords(answer), panels.has("geometry") ? sightWords(answer) : ""].filter(Boolean).join(" ")
  return [[make("p", {}, told), told], ...landing(answer, given), ...nearWords(answer), ...mostOfAll(answer)]
}

function cellWords({ look, cell, own, truly, spread, bits }) {
  const where = `Cell ${cell.join(", ")} of frame ${look.frame} is on ${nameOf(own)}`
  const truth = truly === VOID || truly === own ? "" : ` (in truth: ${nameOf(truly)})`
  return `${where}${truth}. It looks at about ${about(spread)} cells (entropy ${bits.toFixed(1)} bits).`
}

function sightWords({ look, query }) {
  const sees = look.visible(query)
  return sees ? `It can see ${sum(sees)} of ${look.keys} cells.` : `It can see all ${look.keys} cells.`
}

// On which objects the weight lands: a bar, and a chip for each
function landing({ shares }, { objects, colours }) {
  const labels = [0, ...objects]
  const order = labels.map((_, i) => i).filter(i => shares[i] >= LEAST_TOLD)
  order.sort((a, b) => shares[b] - shares[a])
  const parts = make("div", { className: "parts", ariaHidden: "true" })
  for (const i of [...order.filter(i => i > 0), 0]) {
    const part = make("i")
    part.style.flex = `${shares[i]} 0 0`
    part.style.background = css(colourOf(labels[i], colours))
    parts.append(part)
  }
  const chips = order.map(i => chip(labels[i], colours, `${nameOf(labels[i])} ${percent(shares[i])}`))
  const said = order.map(i => `${percent(shares[i])} on ${nameOf(labels[i])}`).join(", ")
  return [
    [make("h4", {}, "Its weight lands on"), ""],
    [parts, ""],
    [make("div", { className: "chips" }, ...chips), `Its weight lands: ${said}.`],
  ]
}

function nearWords({ near }) {
  if (!near) return []
  const words = `Near the true point: ${percent(near.within1)} within 1 cell, ${percent(near.within2)} within 2.`
  return [[make("p", { className: "near" }, words), words]]
}

function mostOfAll({ matches }) {
  if (!matches.length) return []
  const places = matches.map(match => `frame ${match.frame}, cell ${match.cell.join(", ")}`)
  const items = matches.map(({ weight }, i) => {
    const place = make("span", { className: "place" }, places[i])
    return make("li", {}, make("b", {}, letterOf(i)), place, make("span", {}, percent(weight)))
  })
  const said = `Most of all at ${places[0]}: ${percent(matches[0].weight)}.`
  return [[make("h4", { className: "most" }, "Most of all at"), ""], [make("ol", { ariaLabel: "Top matches" }, ...items), said]]
}

// A line on each view: clip, network, attention, head, object, frame, cell
function titlesOf(explorer) {
  const answers = explorer.views.map(view => explorer.answer(view)).filter(Boolean)
  return answers.map(({ network, look, head, cell }) => {
    const heads = look.heads > 1 ? [look.headNames[head].replace("mean", "mean of all heads")] : []
    const object = look.object === null ? [] : [nameOf(look.object)]
    const about = [explorer.given.title, network.name, look.name, ...heads, ...object]
    return [...about, `frame ${look.frame}`, `cell ${cell.join(", ")}`].join(", ")
  })
}

function factsTurned({ look, turned, taken }) {
  const total = sum(taken)
  const best = taken.indexOf(Math.max(...taken))
  const asker = `cell ${Math.floor(best / look.grid[1])}, ${best % look.grid[1]} of frame ${look.frame}`
  const alike = about((total * look.keys) / look.queries)
  const enough = taken.filter(weight => weight >= taken[best] / 2).length
  const words = [
    `Turned round: who looks at cell ${turned.cell.join(", ")} of frame ${turned.frame}?`,
    total
      ? `Most of all ${asker}, with ${percent(taken[best])} of its weight.`
      : "No cell does: it lies outside of what they can see.",
    total ? `Cells that give at least half as much: ${enough}.` : "",
    `Together the cells look at it ${alike} times as much as if they looked at all alike.`,
    "Press Esc, or click the frame, to go back.",
  ].filter(Boolean)
  return words.map(each => [make("p", {}, each), each])
}

// 3. Objects flow --------------------------------------------------------------------------------

function drawFlow(panel, explorer, { network, look, head, asking, query }) {
  const { exploration, given, colours } = explorer
  const wanted = ["Objects flow", "Prediction", ...(given.truth ? ["Truth"] : [])]
  const row = panel.querySelector(".three")
  if (row.children.length !== wanted.length) {
    const captions = wanted.map(name => make("figcaption", {}, name))
    row.replaceChildren(...captions.map(words => make("figure", {}, make("canvas", { role: "img" }), words)))
  }
  const number = look.frame
  const flow = exploration.flow(network, look, head)
  const labels = exploration.labels(network, number)
  const drawn = [picture => picture.cells(asking, i => mixed(flow[i], exploration.channels, colours))]
  drawn.push(picture => picture.labels(labels, colours))
  drawn.push(picture => picture.labels(exploration.truth(number), colours))
  wanted.forEach((name, i) => {
    const picture = new Picture(row.children[i].querySelector("canvas"), given.size)
    if (!picture.fit()) return
    picture.frame(explorer.images.get(number), i ? 0.1 : 0.6)
    drawn[i](picture)
    const outlined = name === "Truth" ? exploration.truth(number) : labels
    picture.objects(outlines(outlined, given.size, given.objects), colours)
    picture.cell(asking, asking.cell(query))
    picture.canvas.setAttribute("aria-label", `${name} of frame ${number}`)
  })
}

// The colours of objects, mixed by their shares; the more lands on objects, the less one sees through
function mixed(shares, labels, colours) {
  const onObjects = sum(shares.slice(1))
  if (onObjects <= 0) return null
  const parts = [0, 1, 2].map(part =>
    sum(shares.slice(1).map((share, i) => (share / onObjects) * colourOf(labels[i + 1], colours)[part])),
  )
  return [...parts, 255 * clip(onObjects, 0, 1)]
}

// 4. Identities ----------------------------------------------------------------------------------

function drawIdentities(panel, explorer, answer) {
  const { network, look } = answer
  const { identities } = network
  const lines =
    "Every object has an identity, a learned vector that is painted over its cells. Bars and lines say how much " +
    "what a cell reads is like each identity (cosine, 1: the same direction)."
  const none =
    `${network.name} keeps no identity vectors. ` +
    "Bars and lines say which share of the weight lands on each object."
  const other = `${lines} No identities are known of ${look.name}: its lines are shares of the weight.`
  panel.querySelector(".about").textContent = !identities ? none : identities.maps?.[look.name] ? lines : other
  drawBlocks(panel.querySelector(".blocks"), explorer, answer)
  drawOverTime(panel, explorer, answer)
  drawTables(panel.querySelector(".tables"), explorer, answer)
}

// For the chosen cell, in every map by which its frame reads other frames
function drawBlocks(place, explorer, { network, look, cell, asking }) {
  const { exploration, colours } = explorer
  const point = asking.centre(cell)
  const reads = network.looks.filter(each => {
    const about = each.object === look.object || each.object === null
    const told = !network.identities || network.identities.maps?.[each.name]
    return each.step === look.step && isRead(each, network) && about && told
  })
  const blocks = reads.map(each => {
    const cells = exploration.asking(network, each)
    const shares = exploration.objectShares(network, each, cells.number(cells.at(point)), 0)
    const values = exploration.arrived(network, each, shares)
    const lines = values.map((value, i) => {
      const label = exploration.channels[i]
      const text = make("span", {}, network.identities ? value.toFixed(2) : percent(value))
      return make("div", { className: "line" }, chip(label, colours), bar(value, colourOf(label, colours)), text)
    })
    return make("div", { className: "block" }, make("b", {}, each.name), ...lines)
  })
  place.replaceChildren(...(blocks.length ? blocks : ["Nothing is known of identities in the maps of this frame."]))
}

// Mean over the cells of an object, or the one cell at the chosen place, in every frame that asks
function drawOverTime(panel, explorer, { network, look, cell, asking, own }) {
  const { exploration, given, colours } = explorer
  const follow = panel.querySelector(".follow")
  const wanted = ["place", ...given.objects.map(String)]
  if (follow.options.length !== wanted.length) {
    const names = wanted.map(value => (value === "place" ? "the chosen place" : `object ${value}`))
    follow.replaceChildren(...wanted.map((value, i) => make("option", { value }, names[i])))
    follow.value = given.objects.includes(own) ? String(own) : "place"
  }
  const looks = network.steps.map(step =>
    network.looks.find(each => each.step === step && each.name === look.name && each.object === look.object),
  )
  const values = looks.map(each => each && meanArrived(exploration, network, each, follow.value, asking.centre(cell)))
  const lines = exploration.channels.map((label, i) => ({ label, values: values.map(each => each?.[i] ?? null) }))
  const canvas = panel.querySelector(".chart")
  const style = getComputedStyle(explorer.root)
  const [ink, quiet] = ["--ink", "--quiet"].map(name => style.getPropertyValue(name))
  const least = Math.min(...lines.flatMap(line => line.values)) < -0.05 ? -1 : 0
  drawChart(canvas, network.steps, lines, { least, colours, ink, quiet, now: look.step })
  const now = network.steps.indexOf(look.step)
  const said = lines.map(({ label, values }) => `${nameOf(label)} ${values[now]?.toFixed(2) ?? "none"}`)
  canvas.setAttribute("aria-label", `At frame ${look.step}: ${said.join(", ")}`)
}

function meanArrived(exploration, network, look, follow, point) {
  const cells = exploration.asking(network, look)
  const channels = exploration.channels.length
  let asked = [cells.number(cells.at(point))]
  if (follow !== "place") {
    const channel = exploration.channels.indexOf(Number(follow))
    const coverage = exploration.coverage(network, look.frame, cells)
    const covers = Array.from({ length: cells.count }, (_, i) => coverage[i * channels + channel])
    const most = Math.max(...covers)
    asked = [...covers.keys()].filter(i => covers[i] > 0 && covers[i] >= most / 2)
  }
  if (!asked.length) return null
  const all = asked.map(query => {
    return exploration.arrived(network, look, exploration.objectShares(network, look, query, 0))
  })
  return exploration.channels.map((_, i) => sum(all.map(each => each[i])) / all.length)
}

function drawTables(place, explorer, { network, look }) {
  const { bank, maps } = network.identities ?? {}
  const tables = []
  if (bank) tables.push(cosineTable("Cosines in the bank", bank, explorer))
  if (maps?.[look.name]) tables.push(cosineTable(`As ${look.name} carries them`, cosines(maps[look.name]), explorer))
  place.replaceChildren(...tables)
}

function cosineTable(title, table, { exploration, colours }) {
  const heads = exploration.channels.map(label => make("th", { scope: "col" }, chip(label, colours)))
  const rows = table.map((line, i) => {
    const cells = line.map(value => {
      const colour = HEAT[Math.round(255 * clip(Math.abs(value), 0, 1))]
      const cell = make("td", {}, value.toFixed(2).replace("-", "\u2212"))
      cell.style.background = css(colour)
      cell.style.color = isLight(colour) ? "#000" : "#fff"
      return cell
    })
    return make("tr", {}, make("th", { scope: "row" }, chip(exploration.channels[i], colours)), ...cells)
  })
  return make("table", {}, make("caption", {}, title), make("tr", {}, make("th"), ...heads), ...rows)
}

// 5. Tour and words ------------------------------------------------------------------------------

// The tour of the first view's network, else of the first that has one: the stops whose maps are on this page
function tourOf(explorer) {
  const tours = explorer.given.words?.tours ?? {}
  const own = explorer.networks.length ? [explorer.network(explorer.views[0]), ...explorer.networks] : []
  const found = own.map(network => {
    return { network, stops: (tours[network.paper] ?? []).map(stop => onPage(stop, network)).filter(Boolean) }
  })
  return found.find(tour => tour.stops.length) ?? null
}

// A stop with the names of maps that it is about, with its text `alone` where there is nothing to compare with; null
// where the page does not hold them, or no other frame to go to
function onPage(stop, { looks, steps }) {
  const names = [...new Set(looks.map(look => look.name))]
  const exact = stop.map.replace(/[.+^${}()|[\]\\?]/g, "\\$&")
  const pattern = new RegExp(`^${exact.replaceAll("*", ".*")}$`)
  const map = names.findLast(each => pattern.test(each))
  if (!map || (stop.frame !== 1 && steps.length < 2)) return null
  if (!stop.compare || (names.includes(stop.compare) && stop.compare !== map)) return { ...stop, map }
  return stop.alone ? { ...stop, map, text: stop.alone, compare: null } : null
}

function startTour(explorer) {
  if (tourOf(explorer)) goToStop(explorer, 0)
  else explorer.say("There is no tour for this network.")
}

function goToStop(explorer, at) {
  const { network, stops } = tourOf(explorer)
  pause(explorer)
  explorer.stop = clip(at, 0, stops.length - 1)
  explorer.apply(stateOf(stops[explorer.stop], network, explorer.exploration))
  reveal(explorer, CARDS.find(name => explorer.panels.has(name)))
}

function showStop(explorer) {
  const panel = explorer.find(".tour")
  const tour = explorer.stop === null ? null : tourOf(explorer)
  panel.hidden = !tour
  explorer.find(".actions [data-do=tour]").setAttribute("aria-expanded", Boolean(tour))
  if (!tour) return
  const { stops } = tour
  explorer.stop = clip(explorer.stop, 0, stops.length - 1) // the tour of another network may be shorter
  const stop = stops[explorer.stop]
  panel.querySelector("h3").textContent = `${explorer.stop + 1} of ${stops.length}: ${stop.title}`
  panel.querySelector("p").textContent = stop.text
  const buttons = stops.map(({ title }, i) => make("button", { type: "button", title, "data-stop": i }, String(i + 1)))
  buttons[explorer.stop].setAttribute("aria-current", "step")
  panel.querySelector(".steps").replaceChildren(...buttons)
  panel.querySelector("[data-do=back]").disabled = explorer.stop === 0
  panel.querySelector("[data-do=next]").disabled = explorer.stop === stops.length - 1
}

// The state that a stop asks for
function stateOf(stop, network, exploration) {
  const named = network.looks.filter(each => each.name === stop.map)
  const steps = [...new Set(named.map(each => each.step))].sort((a, b) => a - b)
  const frame = steps[Math.round((stop.frame ?? 1) * (steps.length - 1))]
  const looks = named.filter(each => each.step === frame)
  const cells = exploration.asking(network, looks[0])
  const { cell, label } = stopCell(stop.cell, network, exploration, looks[0].frame, cells)
  const look = looks.find(each => each.object === label) ?? looks[0]
  const view = { net: network.name, map: stop.map, head: 0, object: look.object, asks: look.frame }
  const views = stop.compare ? [view, { ...view, map: stop.compare }] : [view]
  return { views, frame, point: cells.centre(cell), turn: Boolean(stop.turn), panels: stop.view ?? {} }
}

// The "middle" or "edge" of the main object, or a place [y, x] as shares of the frame: the cell, and its object
function stopCell(wanted, network, exploration, frame, cells) {
  if (Array.isArray(wanted)) return { cell: cells.at(wanted.map((share, axis) => share * cells.frame[axis])) }
  const label = exploration.mainObject(network, frame, cells)
  const amid = exploration.amid(network, frame, label, cells, wanted)
  return { label, cell: amid ?? cells.at(cells.frame.map(side => side / 2)) }
}

function showWords(dialog, { words: { glossary = {}, page = {} } = {}, levels }) {
  const entries = [...Object.entries(page), ...Object.entries(glossary)]
  const coding = `1/${2 * levels}`
  const items = entries.flatMap(([word, text]) => [
    make("dt", {}, word),
    make("dd", {}, text.replace("{coding}", coding)),
  ])
  dialog.querySelector("dl").replaceChildren(...items)
  dialog.showModal()
}
