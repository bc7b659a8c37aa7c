// What the attention explorer was given, unpacked, and every number that it shows of it. No picture, no page.
//
// 1. geometry       Cells: the grid of a map over the pixels of a frame, by the rule of cells.py
// 2. numbers        of a row of weights: shares, spread, matches, objects, likeness
// 3. maps           Look: the weights of one attention map, row by row, column by column
// 4. all of it      Exploration: frames, networks, truth
//
// A row holds the weights of one asking cell on all cells of the key frames, frame by frame. What the page calls
// shares are parts of the row's sum, which the coding leaves near 1, not at it.

const VOID = 255 // label of pixels whose object nobody knows
const FINEST = 8 // parts of a pixel that points are told in, as in explorer_film.py
const FORMAT = 1 // of the data, as in explorer_data.py

// 1. Geometry ------------------------------------------------------------------------------------

const clip = (number, least, most) => Math.min(Math.max(number, least), most)
const sum = numbers => numbers.reduce((total, number) => total + number, 0)

// Where cells were pooled, each is a block of factor x factor cells of a fine grid; the last may reach beyond it
class Cells {
  constructor(grid, frame, alignCorners, fine = grid, factor = 1) {
    this.grid = grid
    this.frame = frame
    this.count = grid[0] * grid[1]
    this.ends = [0, 1].map(axis => {
      const margin = alignCorners ? (frame[axis] - 1) / Math.max(fine[axis] - 1, 1) / 2 : 0.5
      return [-margin, frame[axis] - 1 + margin]
    })
    this.sides = this.ends.map(([low, high], axis) => ((high - low) / fine[axis]) * factor)
  }

  // The cell [y, x] of a point [y, x] in pixels
  at(point) {
    return point.map((place, axis) => {
      const cell = Math.floor((place - this.ends[axis][0]) / this.sides[axis])
      return clip(cell, 0, this.grid[axis] - 1)
    })
  }

  // Where a cell begins and ends along an axis, in pixels
  edges(place, axis) {
    const [low, high] = this.ends[axis]
    return [low + place * this.sides[axis], Math.min(low + (place + 1) * this.sides[axis], high)]
  }

  centre(cell) {
    return cell.map((place, axis) => sum(this.edges(place, axis)) / 2)
  }

  // The pixels that belong to a cell
  pixels(cell) {
    const [first, behind] = [0, 1].map(end =>
      cell.map((place, axis) => clip(Math.ceil(this.edges(place, axis)[end] - 1e-9), 0, this.frame[axis])),
    )
    return { top: first[0], left: first[1], height: behind[0] - first[0], width: behind[1] - first[1] }
  }

  number([y, x]) {
    return y * this.grid[1] + x
  }

  cell(number) {
    return [Math.floor(number / this.grid[1]), number % this.grid[1]]
  }

  has([y, x]) {
    return [y, x].every((place, axis) => Number.isInteger(place) && place >= 0 && place < this.grid[axis])
  }

  // The share of each cell that each of the channels (labels) covers, cell by cell
  shares(labels, channels) {
    const [height, width] = this.frame
    const channelOf = new Int16Array(256).fill(-1)
    channels.forEach((label, channel) => (channelOf[label] = channel))
    const columns = Array.from({ length: width }, (_, x) => this.at([0, x])[1])
    const [shares, pixels] = [new Float32Array(this.count * channels.length), new Float32Array(this.count)]
    for (let y = 0; y < height; y++) {
      const first = this.at([y, 0])[0] * this.grid[1]
      for (let x = 0; x < width; x++) {
        const cell = first + columns[x]
        const channel = channelOf[labels[y * width + x]]
        pixels[cell]++
        if (channel >= 0) shares[cell * channels.length + channel]++
      }
    }
    return shares.map((count, i) => count / Math.max(1, pixels[Math.floor(i / channels.length)]))
  }
}

// 2. Numbers of a row ----------------------------------------------------------------------------

// The share of the weight on each key frame
function frameShares(row, frames) {
  const [size, all] = [row.length / frames, sum(row) || 1]
  return Array.from({ length: frames }, (_, t) => sum(row.subarray(t * size, (t + 1) * size)) / all)
}

function entropy(row) {
  const all = sum(row)
  let bits = 0
  for (const weight of row) if (weight > 0) bits -= (weight / all) * Math.log2(weight / all)
  return Math.max(0, bits)
}

// As many cells, looked at alike, would have the same entropy
const spread = row => 2 ** entropy(row)

// The largest weights: [{time, number, weight}, ...], number of the cell in its frame
function topMatches(row, frames, most) {
  const size = row.length / frames
  const order = Array.from(row.keys()).filter(i => row[i] > 0)
  order.sort((a, b) => row[b] - row[a] || a - b)
  return order.slice(0, most).map(i => ({ time: Math.floor(i / size), number: i % size, weight: row[i] }))
}

// How much of the weight each channel gets; coverage: one array per key frame, see Cells.shares
function carried(row, coverage, channels) {
  const [size, all] = [row.length / coverage.length, sum(row) || 1]
  const shares = new Array(channels).fill(0)
  coverage.forEach((covers, t) => {
    for (let i = 0; i < size; i++) {
      const weight = row[t * size + i]
      if (weight === 0) continue
      for (let c = 0; c < channels; c++) shares[c] += weight * covers[i * channels + c]
    }
  })
  return shares.map(share => share / all)
}

// Cosine of a mix of vectors with each of them, by their Gram matrix
function likeness(mix, gram) {
  const dots = gram.map(line => sum(line.map((product, i) => product * mix[i])))
  const square = sum(mix.map((part, i) => part * dots[i]))
  return dots.map((dot, i) => dot / Math.max(Math.sqrt(Math.max(square, 0) * gram[i][i]), 1e-12))
}

const cosines = gram => gram.map((line, i) => line.map((dot, j) => dot / Math.sqrt(gram[i][i] * gram[j][j] || 1)))

// Of the weight on frames that show the true point, the shares at most 1 and at most 2 cells from it;
// points: for each key frame the cell [y, x], null where the point is hidden or not known
function nearPoint(row, points, grid) {
  const size = grid[0] * grid[1]
  let [shown, within1, within2] = [0, 0, 0]
  points.forEach((point, t) => {
    if (!point) return
    for (let i = 0; i < size; i++) {
      const weight = row[t * size + i]
      const away = Math.max(Math.abs(Math.floor(i / grid[1]) - point[0]), Math.abs((i % grid[1]) - point[1]))
      shown += weight
      if (away <= 1) within1 += weight
      if (away <= 2) within2 += weight
    }
  })
  return shown ? { within1: within1 / shown, within2: within2 / shown } : null
}

// 3. Maps ----------------------------------------------------------------------------------------

class Look {
  constructor(map, given, unpacked, indexOf) {
    Object.assign(this, map)
    this.step = map.step ?? map.frame
    const [times, height, width] = map.keyGrid
    this.times = times
    this.keyGridOfFrame = [height, width]
    this.keys = times * height * width
    this.queries = map.grid[0] * map.grid[1]
    this.levels = given.levels
    this.unpacked = unpacked
    this.indexOf = indexOf
    this.columnsOfRow = map.weights[1] / (map.heads * this.queries)
  }

  get codes() {
    return (this._codes ??= view(this.unpacked, Uint8Array, this.weights))
  }

  get largest() {
    return (this._largest ??= view(this.unpacked, Float32Array, this.rowmax))
  }

  // The cell of each weight, row by row; null: all cells in order. Given as differences from row to row
  get cells() {
    if (this._cells !== undefined) return this._cells
    if (this.same !== null && this.same !== undefined) return (this._cells = this.indexOf(this.same))
    if (!this.index) return (this._cells = null)
    const cells = Int32Array.from(view(this.unpacked, Int32Array, this.index))
    for (let i = this.columnsOfRow; i < cells.length; i++) cells[i] += cells[i - this.columnsOfRow]
    return (this._cells = cells)
  }

  get looksAtItself() {
    return this.keyFrames.every(frame => frame === this.frame)
  }

  weight(head, query, column) {
    const code = this.codes[(head * this.queries + query) * this.columnsOfRow + column] / this.levels
    return this.largest[head * this.queries + query] * code * code
  }

  // Where an asking cell looks: its weights on all cells of the key frames
  row(query, head = 0, into = new Float32Array(this.keys)) {
    into.fill(0)
    const first = query * this.columnsOfRow
    for (let column = 0; column < this.columnsOfRow; column++) {
      const key = this.cells ? this.cells[first + column] : column
      if (key >= 0) into[key] += this.weight(head, query, column)
    }
    return into
  }

  // What each asking cell takes from a cell of the key frames
  column(key, head = 0) {
    const taken = new Float32Array(this.queries)
    for (let query = 0; query < this.queries; query++) {
      if (!this.cells) {
        taken[query] = this.weight(head, query, key)
        continue
      }
      const first = query * this.columnsOfRow
      for (let column = 0; column < this.columnsOfRow; column++) {
        if (this.cells[first + column] === key) taken[query] += this.weight(head, query, column)
      }
    }
    return taken
  }

  // 1 for each cell of the key frames that an asking cell may look at; null: for all
  visible(query) {
    if (!this.cells) return null
    const sees = new Uint8Array(this.keys)
    const first = query * this.columnsOfRow
    for (const key of this.cells.subarray(first, first + this.columnsOfRow)) if (key >= 0) sees[key] = 1
    return sees
  }

  // 1 for each asking cell that may look at a cell of the key frames; null: for all
  seenBy(key) {
    if (!this.cells) return null
    const sees = new Uint8Array(this.queries)
    this.cells.forEach((cell, i) => {
      if (cell === key) sees[Math.floor(i / this.columnsOfRow)] = 1
    })
    return sees
  }

  // The largest weight of all rows of a head
  peak(head) {
    return Math.max(...this.largest.subarray(head * this.queries, (head + 1) * this.queries))
  }
}

// 4. All of it -----------------------------------------------------------------------------------

async function inflate(text) {
  const letters = atob(text)
  const packed = new Uint8Array(letters.length)
  for (let i = 0; i < letters.length; i++) packed[i] = letters.charCodeAt(i)
  const unpacked = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"))
  return new Response(unpacked).arrayBuffer()
}

const view = (buffer, Kind, [start, count]) => new Kind(buffer, start, count)

class Exploration {
  constructor(given, unpacked) {
    this.given = given
    this.size = given.size
    this.pixels = given.size[0] * given.size[1]
    this.unpacked = unpacked
    this.channels = [0, ...given.objects]
    this.numbers = given.frames.map(frame => frame.number)
    this.networks = given.networks.map(network => this.opened(network))
    this.kept = new Map()
  }

  static async open(given) {
    if (given.format !== FORMAT) {
      throw new Error(`the data has format ${given.format}; this page reads format ${FORMAT}`)
    }
    return new Exploration(given, await inflate(given.pack))
  }

  opened(network) {
    const looks = []
    const indexOf = number => looks[number].cells
    for (const map of network.maps) looks.push(new Look(map, this.given, this.unpacked, indexOf))
    const steps = [...new Set(looks.map(look => look.step))].sort((a, b) => a - b)
    return { ...network, looks, steps }
  }

  // What is worked out once and asked for often
  once(key, make) {
    if (!this.kept.has(key)) this.kept.set(key, make())
    return this.kept.get(key)
  }

  // The grid of the cells of a map that ask, and of those that are looked at
  asking(network, look) {
    return this.cells(network, look.grid, look.fullGrid, look.pooled?.[0])
  }

  answering(network, look) {
    return this.cells(network, look.keyGridOfFrame, look.fullKeyGrid, look.pooled?.[1])
  }

  cells(network, grid, fine = grid, factor = 1) {
    const rule = [grid, this.size, network.alignCorners, fine ?? grid, factor]
    return this.once(`cells ${rule}`, () => new Cells(...rule))
  }

  // The labels of a frame, as a network predicted them
  labels(network, number) {
    const start = network.labels[0] + this.numbers.indexOf(number) * this.pixels
    return this.once(`labels ${network.name} ${number}`, () => new Uint8Array(this.unpacked, start, this.pixels))
  }

  // The true labels of a frame, VOID where they are not known; null without truth
  truth(number) {
    const { truth } = this.given
    if (!truth) return null
    const start = truth[0] + this.numbers.indexOf(number) * this.pixels
    return this.once(`truth ${number}`, () => new Uint8Array(this.unpacked, start, this.pixels))
  }

  coverage(network, number, cells) {
    return this.once(`coverage ${network.name} ${number} ${cells.grid} ${cells.sides}`, () =>
      cells.shares(this.labels(network, number), this.channels),
    )
  }

  // The shares of the weight of one asking cell on background and objects, as the memory has them
  objectShares(network, look, query, head) {
    const cells = this.answering(network, look)
    const coverage = look.keyFrames.map(number => this.coverage(network, number, cells))
    return carried(look.row(query, head), coverage, this.channels.length)
  }

  // The same of every asking cell
  flow(network, look, head) {
    return this.once(`flow ${network.name} ${network.looks.indexOf(look)} ${head}`, () =>
      Array.from({ length: look.queries }, (_, query) => this.objectShares(network, look, query, head)),
    )
  }

  // How the mix that a map's cell reads is like each identity; the shares themselves where there are no identities
  arrived(network, look, shares) {
    const gram = network.identities?.maps?.[look.name]
    return gram?.length === shares.length ? likeness(shares, gram) : shares
  }

  // The label that covers most of a cell; VOID where none is known
  labelIn(labels, cells, cell) {
    if (!labels) return VOID
    const inside = new Map()
    const { top, left, height, width } = cells.pixels(cell)
    for (let y = top; y < top + height; y++) {
      for (const label of labels.subarray(y * this.size[1] + left, y * this.size[1] + left + width)) {
        inside.set(label, (inside.get(label) ?? 0) + 1)
      }
    }
    return [...inside].sort((a, b) => b[1] - a[1] || a[0] - b[0])[0]?.[0] ?? VOID
  }

  // Where the point amid an asking cell is in each key frame: pixels [y, x], null where hidden or not known
  points(network, look, cell) {
    return look.keyFrames.map(memory => {
      if (memory === look.frame) return null
      const told = this.given.points?.find(
        ({ frame, memory: other, grid, fullGrid, alignCorners }) =>
          frame === look.frame && other === memory && alignCorners === network.alignCorners &&
          `${grid} of ${fullGrid}` === `${look.grid} of ${look.fullGrid}`,
      )
      if (!told) return null
      const place = told.points[0] + 4 * this.asking(network, look).number(cell)
      const [y, x] = new Int16Array(this.unpacked, place, 2)
      return y === -1 && x === -1 ? null : [y / FINEST, x / FINEST]
    })
  }

  // Of the objects that some cell lies on, the largest that is whole in view, by the rule of cells.py
  mainObject(network, number, cells) {
    const labels = this.labels(network, number)
    const [height, width] = this.size
    const [sizes, atEdge] = [new Uint32Array(256), new Uint32Array(256)]
    labels.forEach((label, i) => {
      const [y, x] = [Math.floor(i / width), i % width]
      sizes[label]++
      atEdge[label] += y === 0 || x === 0 || y === height - 1 || x === width - 1
    })
    const rank = label => {
      const cell = this.amid(network, number, label, cells)
      const clear = cell && this.labelIn(labels, cells, cell) === label
      const whole = atEdge[label] <= Math.sqrt(sizes[label]) / 4
      return sizes[label] + this.pixels * (2 * Boolean(clear) + whole)
    }
    return [...this.given.objects].sort((a, b) => rank(b) - rank(a))[0]
  }

  // The cell that lies most on an object, of those the one next to its middle; null where there is none
  amid(network, number, object, cells, where = "middle") {
    const channel = this.channels.indexOf(object)
    const shares = this.coverage(network, number, cells).filter((_, i) => i % this.channels.length === channel)
    const most = Math.max(...shares)
    if (channel < 0 || most === 0) return null
    const [rows, columns] = [0, 1].map(axis => {
      return sum(Array.from(shares, (share, i) => share * cells.cell(i)[axis])) / sum(shares)
    })
    const away = i => Math.hypot(cells.cell(i)[0] - rows, cells.cell(i)[1] - columns)
    const order = Array.from(shares.keys()).filter(i => shares[i] >= (where === "edge" ? most / 3 : 0.95 * most))
    order.sort((a, b) => (where === "edge" ? away(b) - away(a) : away(a) - away(b)))
    return cells.cell(order[0])
  }
}
