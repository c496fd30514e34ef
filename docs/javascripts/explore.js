// Figures that the reader steers. What they compute is printed from Python, beside the figure, as functions of numbers; here it is run and drawn.
// @ts-check
"use strict"

/** @typedef {number | number[]} Value a number, or a series of them */
/** @typedef {{ name: string, value: number, low: number, high: number }} Given a number that the reader sets */
/** @typedef {Given & { label: string, step: number | null, log: boolean, marks: [string, number | string][], resets: string[] }} Slider */
/** @typedef {{ kind: string, out: string[], args: (string | number)[], first: (string | number)[], steps: number, places: number, ends: number[], values?: (number | null)[], range?: number[] }} Program */
/** @typedef {{ kind: string, paths: string[], labels: string[], x: string, y: string, label: string, color: number, dots: boolean, line: boolean, faint: boolean, timed: boolean, axis: "x" | "y", at: number | string, numbers: [string, string] }} Layer */
/** @typedef {{ xlim: number[], ylim: number[], xlabel: string, ylabel: string, title: string, height: number, wide: boolean, logx: boolean, logy: boolean, layers: Layer[] }} Panel */
/** @typedef {{ sliders: Slider[], points: Given[], steps: number, timed: string[], programs: Program[], panels: Panel[], readout: string, functions: ((...given: number[]) => number[])[] }} Spec */
/** @typedef {{ size: number, place: (value: number) => number, value: (place: number) => number, ticks: number[] }} Axis */
/** @typedef {{ apply: () => void, values: (numbers?: Record<string, number>) => Record<string, Value>, fit: (width: number) => void, state: () => Record<string, number> }} Hook */

const SVG = "http://www.w3.org/2000/svg", LEFT = 54, RIGHT = 12, TOP = 8, BOTTOM = 38
const calm = matchMedia("(prefers-reduced-motion: reduce)")

/**
 * A new last child of `parent`.
 * @param {Element} parent
 * @param {string} name
 * @param {Record<string, string | number>} [attributes]
 * @param {string} [text]
 * @returns {any}
 */
function add(parent, name, attributes = {}, text = "") {
  const made = name === "svg" || parent.namespaceURI === SVG ? document.createElementNS(SVG, name) : document.createElement(name)
  put(made, attributes)
  if (text) made.textContent = text
  return parent.appendChild(made)
}

/** @param {Element} element @param {Record<string, string | number>} attributes */
function put(element, attributes) {
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value))
}

/** Change a text in its place: what watches the page for new elements has nothing to do. @param {Element} element @param {string} text */
function write(element, text) {
  const node = /** @type {Text} */ (element.firstChild ?? element.appendChild(document.createTextNode("")))
  if (node.data !== text) node.data = text
}

/** @param {number} value */
const superscript = value => String(value).replace(/./g, digit => "⁰¹²³⁴⁵⁶⁷⁸⁹"["0123456789".indexOf(digit)] ?? "⁻")

/** A number as one reads it, with three digits. @param {number} value @returns {string} */
function written(value) {
  if (!Number.isFinite(value)) return "beyond all bounds"
  const size = Math.abs(value), sign = value < 0 ? "−" : ""
  if (size && (size < 1e-3 || size >= 1e5)) {
    const [digits, power] = size.toExponential(1).split("e")
    return `${sign}${digits} × 10${superscript(Number(power))}`
  }
  return sign + (Number.isInteger(size) ? size : Number(size.toPrecision(3)))
}

/**
 * All that the figure computes, by name, at some numbers.
 * @param {Spec} spec
 * @param {Record<string, number>} numbers
 * @returns {Record<string, Value>}
 */
function compute(spec, numbers) {
  /** @type {Record<string, Value>} */
  const known = { now: spec.steps, ...numbers, step: Array.from({ length: spec.steps + 1 }, (_, i) => i) }
  spec.programs.forEach(({ kind, out, args, first, steps, places, ends, values, range }, index) => {
    const run = spec.functions[index]
    if (kind === "data") {
      const [low, high, count] = range ?? []
      known[out[0]] = values?.map(value => value ?? NaN) ?? Array.from({ length: count }, (_, i) => (i < count - 1 ? low + i * ((high - low) / (count - 1)) : high))
      return
    }
    /** @type {(what: string | number, i: number) => number} */
    const at = (what, i) => {
      const value = typeof what === "number" ? what : what === "t" && kind === "iterate" ? i + 1 : known[what]
      return typeof value === "number" ? value : value[i]
    }
    if (kind === "chain") {
      const row = Array.from({ length: places }, (_, i) => i), sums = out.slice(first.length).map(name => /** @type {number[]} */ (known[name] = []))
      /** @type {number[]} */
      const given = []
      let rows = first.map(what => row.map(i => at(what, i)))
      for (let k = 0; k <= steps; k++) {
        if (k === known.now) rows.forEach((values, j) => (known[out[j]] = values))
        const made = row.map(i => {
          let n = 0
          for (const values of rows) {
            given[n++] = values[i]
            given[n++] = i ? values[i - 1] : ends[0]
            given[n++] = i < places - 1 ? values[i + 1] : ends[1]
          }
          for (const name of args) given[n++] = name === "t" ? k + 1 : at(name, i)
          return run(...given)
        })
        sums.forEach((sum, j) => sum.push(made.reduce((total, values) => total + values[first.length + j], 0)))
        rows = first.map((_, j) => made.map(values => values[j]))
      }
      return
    }
    const given = args.map(name => (typeof name === "string" ? known[name] : name))
    const length = kind === "iterate" ? steps : given.reduce((/** @type {number} */ most, value) => (Array.isArray(value) ? value.length : most), -1)
    if (length < 0) {
      run(...args.map(name => at(name, 0))).forEach((value, i) => (known[out[i]] = value))
      return
    }
    /** @type {number[][]} */
    const columns = out.map(() => [])
    /** @type {(row: number[]) => void} */
    const keep = row => columns.forEach((column, i) => column.push(row[i]))
    let state = kind === "iterate" ? first.map(what => at(what, 0)) : []
    if (kind === "iterate") keep(state)
    for (let i = 0; i < length; i++) {
      const row = run(...state, ...args.map(name => at(name, i)))
      keep(row)
      if (kind === "iterate") state = row
    }
    out.forEach((name, i) => (known[name] = columns[i]))
  })
  return known
}

/** @type {Record<string, (series: number[]) => number>} */
const SUMMARIES = {
  last: series => series[series.length - 1],
  sum: series => series.reduce((a, b) => a + b, 0),
  mean: series => SUMMARIES.sum(series) / series.length,
  var: series => SUMMARIES.mean(series.map(x => (x - SUMMARIES.mean(series)) ** 2)),
  min: series => Math.min(...series),
  max: series => Math.max(...series),
}

/**
 * One axis of a panel, `size` pixels long.
 * @param {number[]} limits @param {boolean} log @param {number} size @param {boolean} down
 * @returns {Axis}
 */
function axis([low, high], log, size, down) {
  const to = log ? Math.log10 : (/** @type {number} */ v) => v, from = log ? (/** @type {number} */ v) => 10 ** v : to
  const [a, b] = [to(low), to(high)], most = size / (down ? 34 : 48)
  const rough = (b - a) / most, power = log ? 1 : 10 ** Math.floor(Math.log10(rough))
  const step = power * (log ? Math.max(1, Math.ceil(rough)) : [1, 2, 5, 10].find(m => m * power >= rough) ?? 10), ticks = []
  for (let i = Math.ceil(a / step - 1e-9); i * step <= b + 1e-9 * (b - a); i++) ticks.push(from(Number((i * step).toPrecision(12))))
  /** @type {(share: number) => number} */
  const turn = share => (down ? 1 - share : share)
  return { size, place: value => size * turn((to(value) - a) / (b - a)), value: place => from(a + (b - a) * turn(place / size)), ticks }
}

/**
 * The line through some points of a panel, its dots, and an arrow where it leaves for good.
 * @param {Axis} x @param {Axis} y @param {Value} xs @param {Value} ys @param {number} count @param {boolean} ends
 */
function trail(x, y, xs, ys, count, ends) {
  /** @type {(value: Value) => number[]} */
  const list = value => (Array.isArray(value) ? value : [value])
  const [a, b] = [list(xs), list(ys)], length = Math.min(count, Math.max(a.length, b.length))
  /** @type {[number, number][]} */
  const points = []
  let last = -1
  for (let i = 0; i < length; i++) {
    const point = /** @type {[number, number]} */ ([x.place(a.length > 1 ? a[i] : a[0]), y.place(b.length > 1 ? b[i] : b[0])])
    if (inside(point)) last = i
    points.push(point)
  }
  /** @param {[number, number]} point */
  function inside([px, py]) {
    return px >= -0.5 && px <= x.size + 0.5 && py >= -0.5 && py <= y.size + 0.5
  }
  let line = "", dots = "", arrow = "", pen = "M"
  for (let i = 0; i < length; i++) {
    const [px, py] = points[i]
    if (!Number.isFinite(px + py)) {
      pen = "M"
      continue
    }
    if (ends && last >= 0 && i === last + 1 && pen === "L") { // it leaves for good: as far as the frame, with an arrow
      const [ax, ay] = points[last], [dx, dy] = [px - ax, py - ay]
      const share = Math.min(dx > 0 ? (x.size - ax) / dx : dx < 0 ? -ax / dx : 1, dy > 0 ? (y.size - ay) / dy : dy < 0 ? -ay / dy : 1, 1)
      const [ex, ey] = [ax + share * dx, ay + share * dy]
      line += `L${ex.toFixed(1)} ${ey.toFixed(1)}`
      arrow = `translate(${ex.toFixed(1)} ${ey.toFixed(1)}) rotate(${((Math.atan2(dy, dx) * 180) / Math.PI).toFixed(1)})`
      break
    }
    const [cx, cy] = [x, y].map(({ size }, j) => Math.max(-size, Math.min(2 * size, points[i][j])).toFixed(1)) // a long way off has as many dashes
    line += `${pen}${cx} ${cy}`
    pen = "L"
    if (inside(points[i])) dots += `M${cx} ${cy}h0`
  }
  return { line, dots, arrow, end: points[length - 1] }
}

/** Of the handles in a panel the one that a click is nearest to. @param {SVGElement} svg @param {PointerEvent} event */
function nearest(svg, { clientX, clientY }) {
  /** @param {Element} knob */
  const away = knob => {
    const { left, top, width, height } = knob.getBoundingClientRect()
    return Math.hypot(left + width / 2 - clientX, top + height / 2 - clientY)
  }
  return [...svg.querySelectorAll(".handle[tabindex]")].sort((a, b) => away(a) - away(b))[0]
}

/** How strong the colour of a band is: the first is the strongest, the last a tint of its own. @param {number} i @param {number} count */
const strength = (i, count) => (i === count - 1 ? 0.16 : 0.5 * (1 - i / (count - 1)))

/** While a reader's hand is on a figure, the browser leaves out what is off the screen (book.css). @param {boolean} on */
const steered = on => document.documentElement.classList.toggle("steered", on)

let made = 0

/** @param {HTMLElement} box @param {Spec} spec */
function build(box, spec) {
  const id = box.id, unique = `explore-${++made}`
  const all = [...spec.sliders, ...spec.points]
  const initial = Object.fromEntries(all.map(({ name, value }) => [name, value]))
  let numbers = { ...initial }, step = spec.steps, known = compute(spec, numbers)
  let waiting = 0, touched = "", touchedAt = 0, ghosts = false

  /** @type {(what: string | number) => number} */
  const number = what => (typeof what === "number" ? what : /** @type {number} */ (known[what]))

  // --- what is there once: legend, panels, controls

  const legend = add(box, "ul", { class: "explore-legend" })
  const seen = new Set()
  for (const { layers } of spec.panels) for (const { kind, label, color, dots, line, faint, labels } of layers) {
    if (kind === "areas") labels.forEach((words, i) => entry(i === labels.length - 1 ? "area ax" : "area", words, strength(i, labels.length)))
    else if (kind === "line" && label && !seen.has(label)) {
      seen.add(label)
      entry(faint ? "faint" : `c${color}${dots ? " dotted" : ""}${line ? "" : " bare"}`, label)
    }
  }
  for (const name of new Set(spec.panels.flatMap(({ layers }) => layers.filter(({ numbers }) => numbers?.some(name => name in initial)).map(({ label }) => label)))) entry("handle", `drag: ${name}`)
  const before = entry("ghost", "before")
  /** @param {string} type @param {string} words @param {number} [opacity] */
  function entry(type, words, opacity) {
    const item = add(legend, "li")
    const swatch = add(item, "svg", { viewBox: "0 0 28 12", class: type, "aria-hidden": "true" })
    if (type.startsWith("area")) add(swatch, "rect", { width: 28, height: 12, class: "area", "fill-opacity": opacity ?? 1 })
    else if (type === "handle") add(swatch, "circle", { cx: 14, cy: 6, r: 4.5, class: "ring" })
    else add(swatch, "path", { d: "M1 6h26", class: "line" })
    if (type.includes("dotted") || type.includes("bare")) add(swatch, "path", { d: "M14 6h0", class: "dots" })
    add(item, "span", {}, words)
    return item
  }

  const row = add(box, "div", { class: "explore-panels" })
  const panels = spec.panels.map(panel => {
    const part = add(row, "div", { class: panel.wide ? "explore-panel wide" : "explore-panel" })
    if (panel.title) add(part, "p", { class: "explore-title" }, panel.title)
    const svg = add(part, "svg", { role: "group", "aria-label": panel.title || `${panel.ylabel || "y"} over ${panel.xlabel || "x"}` })
    return { panel, svg, draw: () => {} }
  })

  const form = add(box, "form", { class: "explore-controls" })
  form.addEventListener("submit", (/** @type {Event} */ event) => event.preventDefault())
  const sliders = spec.sliders.map((slider, index) => {
    const { name, label, low, high, step: by, log, marks, resets } = slider
    const places = by ? Math.round((high - low) / by) : 400
    const part = add(form, "div", { class: "explore-slider" })
    const head = add(part, "div", { class: "explore-head" })
    add(head, "label", { for: `${unique}-${index}` }, label)
    const shown = add(head, "output", { for: `${unique}-${index}` })
    const track = add(part, "div", { class: "explore-track" })
    const input = add(track, "input", { type: "range", id: `${unique}-${index}`, min: 0, max: places, step: 1, autocomplete: "off" })
    /** @type {(value: number) => number} */
    const share = value => (log ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low))
    const fresh = Object.fromEntries(resets.map(other => [other, initial[other]]))
    input.addEventListener("input", () => {
      const at = Number(input.value) / places
      set({ ...fresh, [name]: log ? low * (high / low) ** at : low + (high - low) * at }, name)
    })
    const jumps = [...marks].sort(([, a], [, b]) => number(a) - number(b)).map(([words, at]) => {
      const tick = add(track, "span", { class: "explore-tick" })
      const button = add(part, "button", { type: "button" })
      button.addEventListener("click", () => set({ ...fresh, [name]: number(at) }, `${name}!`))
      return { words, at, tick, button }
    })
    return () => {
      const value = numbers[name]
      write(shown, written(value))
      const position = String(Math.round(places * share(value)))
      if (input.value !== position) input.value = position
      input.setAttribute("aria-valuetext", written(value))
      for (const { words, at, tick, button } of jumps) {
        const there = number(at), within = there >= low && there <= high
        tick.hidden = button.hidden = !within
        tick.style.left = `calc(${share(there)} * (100% - 1rem) + .5rem)`
        write(button, `${words}: ${written(there)}`)
      }
    }
  })

  const bar = add(form, "div", { class: "explore-time" })
  let timer = 0, playing = false
  const button = spec.steps ? add(bar, "button", { type: "button" }, "Play") : null
  const time = spec.steps ? add(bar, "input", { type: "range", min: 0, max: spec.steps, step: 1, "aria-label": "step", autocomplete: "off" }) : null
  const clock = spec.steps ? add(bar, "span", { class: "explore-clock", "aria-hidden": "true" }) : null
  time?.addEventListener("input", () => (pause(), go(Number(time.value))))
  button?.addEventListener("click", () => (playing ? pause() : play()))
  add(bar, "button", { type: "button" }, "Reset").addEventListener("click", () => {
    pause()
    step = spec.steps
    set(initial, "")
    forget()
  })
  const said = add(box, "p", { class: "explore-said" }), live = add(box, "p", { class: "explore-live", role: "status" })

  function play() {
    playing = true
    write(button, "Pause")
    if (step >= spec.steps) step = 0
    const from = step, begun = performance.now()
    const pace = Math.min(150, Math.max(30, 6000 / spec.steps)), jump = Math.ceil(spec.steps / 8)
    const next = () => {
      go(calm.matches ? Math.min(spec.steps, step + jump) : Math.min(spec.steps, from + Math.floor((performance.now() - begun) / pace)))
      if (step >= spec.steps) pause()
      else if (playing && box.isConnected) timer = calm.matches ? window.setTimeout(next, 900) : requestAnimationFrame(next)
    }
    next()
  }
  function pause() {
    if (!playing) return
    playing = false
    clearTimeout(timer)
    cancelAnimationFrame(timer)
    write(button, "Play")
    later()
  }
  /** @param {number} to */
  function go(to) {
    step = to
    steered(true)
    soon()
  }

  // --- what changes

  /**
   * Set some numbers; `by` says what the reader's hand is on, so that "before" is what was there when it came.
   * @param {Record<string, number>} some @param {string} by
   */
  function set(some, by) {
    const now = performance.now()
    if (by) steered(true)
    if (by && (by !== touched || now - touchedAt > 1500)) for (const { svg } of panels) for (const line of svg.querySelectorAll("[data-live]")) {
      const ghost = line.previousElementSibling
      ghost.setAttribute("d", line.getAttribute("d"))
      ghosts = true
    }
    if (!by) forget()
    ;[touched, touchedAt] = [by, now]
    for (const { name, low, high } of all) if (name in some)
      numbers[name] = some[name] === initial[name] ? initial[name] : Math.max(low, Math.min(high, Number(some[name].toPrecision(6))))
    soon()
  }
  function forget() {
    ghosts = false
    for (const { svg } of panels) for (const ghost of svg.querySelectorAll(".ghost")) ghost.setAttribute("d", "")
  }
  function soon() {
    waiting ||= requestAnimationFrame(() => {
      waiting = 0
      known = compute(spec, { ...numbers, now: step })
      update()
      later()
    })
  }
  let speech = 0
  function later() {
    clearTimeout(speech)
    if (!playing) speech = window.setTimeout(() => {
      if (!box.isConnected) return
      write(live, said.textContent)
      remember()
    }, 400)
  }

  function update() {
    for (const show of sliders) show()
    if (time) {
      if (time.value !== String(step)) time.value = String(step)
      time.setAttribute("aria-valuetext", `${step} of ${spec.steps}`)
      write(clock, `step ${step} of ${spec.steps}`)
    }
    for (const { draw } of panels) draw()
    before.hidden = !ghosts
    write(said, spec.readout.replace(/\{(\w+)(?::(\w+))?(?:\?([^{}|]*)\|([^{}]*))?\}/g, (_, name, summary, yes, no) => {
      const found = known[name]
      const value = typeof found === "number" ? found : summary ? SUMMARIES[summary](found) : found[spec.timed.includes(name) ? step : found.length - 1]
      if (!step && !summary && Number.isNaN(value)) return "not there yet"
      return yes === undefined ? written(value) : value > 0 ? yes : no
    }))
    box.dataset.drawn = String(Number(box.dataset.drawn ?? 0) + 1)
  }

  /** Everything in a panel that depends on its size, and a way to draw the rest. @param {typeof panels[number]} part */
  function lay(part) {
    const { panel, svg } = part, width = Math.max(120, svg.clientWidth || 600), inner = width - LEFT - RIGHT
    const height = inner * panel.height, outer = height + TOP + BOTTOM
    const x = axis(panel.xlim, panel.logx, inner, false), y = axis(panel.ylim, panel.logy, height, true)
    const focused = svg.contains(document.activeElement)
    svg.replaceChildren()
    put(svg, { viewBox: `0 0 ${width} ${outer}`, height: outer })
    const frame = add(svg, "g", { class: "axes", "aria-hidden": "true" })
    add(frame, "path", { d: `M${LEFT} ${TOP}v${height}h${inner}` })
    for (const tick of x.ticks) label(frame, "x", LEFT + x.place(tick), outer - BOTTOM, tick, panel.logx)
    for (const tick of y.ticks) label(frame, "y", LEFT, TOP + y.place(tick), tick, panel.logy)
    add(frame, "text", { x: LEFT + inner / 2, y: outer - 4, class: "name" }, panel.xlabel)
    add(frame, "text", { transform: `translate(10 ${TOP + height / 2}) rotate(-90)`, class: "name" }, panel.ylabel)
    const plot = add(svg, "svg", { x: LEFT, y: TOP, width: inner, height, class: "plot-area", "aria-hidden": "true" })
    add(plot, "rect", { width: inner, height, class: "ground" })
    /** @type {(() => void)[]} */
    const moving = []
    /** @type {number[]} */
    const named = [] // where the names of level marks stand, so that of two close ones one hangs below its line
    for (const layer of panel.layers) {
      if (layer.kind === "levels" || layer.kind === "areas") {
        const group = add(plot, "g", { class: layer.kind, transform: `scale(${inner / 1000} ${height / 1000})` })
        layer.paths.forEach((d, i) => {
          const last = i === layer.paths.length - 1
          add(group, "path", layer.kind === "levels" ? { d } : { d, class: last ? "area ax" : "area", "fill-opacity": strength(i, layer.paths.length) })
        })
      } else if (layer.kind === "line") moving.push(line(plot, x, y, layer))
      else if (layer.kind === "mark") moving.push(mark(plot, x, y, layer, named))
      else moving.push(handle(svg, plot, panel, x, y, layer))
    }
    part.draw = () => {
      named.length = 0
      moving.forEach(draw => draw())
    }
    if (focused) svg.querySelector("[tabindex]")?.focus()
  }

  /** @param {Element} frame @param {"x" | "y"} on @param {number} px @param {number} py @param {number} value @param {boolean} log */
  function label(frame, on, px, py, value, log) {
    add(frame, "path", { d: on === "x" ? `M${px} ${py}v4` : `M${px} ${py}h-4` })
    add(frame, "text", on === "x" ? { x: px, y: py + 16, class: "tick-x" } : { x: px - 7, y: py + 4, class: "tick-y" },
      log ? `10${superscript(Math.round(Math.log10(value)))}` : written(value))
  }

  /** @param {Element} plot @param {Axis} x @param {Axis} y @param {Layer} layer */
  function line(plot, x, y, layer) {
    const group = add(plot, "g", { class: layer.faint ? "faint" : `c${layer.color}${layer.line ? "" : " bare"}` })
    const ghost = add(group, "path", { class: "ghost" }), path = add(group, "path", layer.faint ? { class: "line" } : { class: "line", "data-live": "" })
    const dots = add(group, "path", { class: "dots" }), arrow = add(group, "path", { d: "M-11 -6L0 0L-11 6z", class: "arrow" })
    const now = add(group, "circle", { r: 5, class: "now" })
    return () => {
      const drawn = trail(x, y, known[layer.x], known[layer.y], layer.timed ? step + 1 : Infinity, layer.timed)
      put(path, { d: layer.line ? drawn.line : "" })
      put(dots, { d: layer.dots ? drawn.dots : "" })
      put(arrow, drawn.arrow ? { transform: drawn.arrow, visibility: "visible" } : { visibility: "hidden" })
      const standing = layer.timed && step < spec.steps && !drawn.arrow && Number.isFinite(drawn.end[0] + drawn.end[1])
      put(now, standing ? { cx: drawn.end[0], cy: drawn.end[1], visibility: "visible" } : { visibility: "hidden" })
    }
  }

  /** @param {Element} plot @param {Axis} x @param {Axis} y @param {Layer} layer @param {number[]} named */
  function mark(plot, x, y, layer, named) {
    const path = add(plot, "path", { class: "mark" }), text = add(plot, "text", { class: "mark-name" }, layer.label)
    return () => {
      const [upright, at] = [layer.axis === "x", (layer.axis === "x" ? x : y).place(number(layer.at))]
      if (!Number.isFinite(at)) return put(path, { d: "" })
      put(path, { d: upright ? `M${at} 0v${y.size}` : `M0 ${at}h${x.size}` })
      const left = at > x.size * 0.7, below = at < 16 || named.some(other => at > other - 8 && at < other + 14)
      if (!upright) named.push(at)
      put(text, upright ? { x: at + (left ? -4 : 4), y: 12, "text-anchor": left ? "end" : "start" } : { x: x.size - 4, y: below ? at + 14 : at - 4, "text-anchor": "end" })
    }
  }

  /** @param {any} svg @param {Element} plot @param {Panel} panel @param {Axis} x @param {Axis} y @param {Layer} layer */
  function handle(svg, plot, panel, x, y, layer) {
    const [first, second] = layer.numbers
    const mine = layer.numbers.map(name => all.find(given => given.name === name))
    const lead = mine[0] ?? mine[1]
    const knob = add(svg, "g", { class: "handle" })
    if (lead) put(knob, { tabindex: 0, role: "slider", "aria-label": layer.label, "aria-valuemin": lead.low, "aria-valuemax": lead.high })
    add(knob, "circle", { r: 22, class: "reach" })
    add(knob, "circle", { r: 7, class: "ring" })
    /** @param {number} px @param {number} py */
    const to = (px, py) => set({ ...(mine[0] && { [first]: x.value(px) }), ...(mine[1] && { [second]: y.value(py) }) }, `${first} ${second}`)
    /** @param {PointerEvent} event */
    const under = event => {
      const edge = svg.getBoundingClientRect()
      to(event.clientX - edge.left - LEFT, event.clientY - edge.top - TOP)
    }
    if (lead) {
      knob.addEventListener("pointerdown", (/** @type {PointerEvent} */ event) => {
        if (event.button) return
        knob.setPointerCapture(event.pointerId)
        knob.focus({ preventScroll: true })
        event.preventDefault()
      })
      knob.addEventListener("pointermove", (/** @type {PointerEvent} */ event) => knob.hasPointerCapture(event.pointerId) && under(event))
      knob.addEventListener("touchstart", (/** @type {TouchEvent} */ event) => event.preventDefault(), { passive: false }) // or the page would scroll: SVG's groups heed no touch-action
      plot.addEventListener("click", event => nearest(svg, /** @type {PointerEvent} */ (event)) === knob && under(/** @type {PointerEvent} */ (event)))
      knob.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
        const by = /** @type {Record<string, number[]>} */ ({ ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] })[event.key]
        if (!by) return
        event.preventDefault()
        const far = (event.shiftKey ? 0.1 : 0.01), up = mine[0] ? by[1] : by[1] - by[0] // what moves only up and down heeds all four arrows, as sliders do
        to(x.place(number(first)) + (mine[1] ? by[0] : by[0] - by[1]) * far * x.size, y.place(number(second)) + up * far * y.size)
      })
    }
    return () => {
      const [px, py] = [x.place(number(first)), y.place(number(second))].map(v => (Number.isFinite(v) ? v : -1e4))
      put(knob, { transform: `translate(${(LEFT + px).toFixed(1)} ${(TOP + py).toFixed(1)})` })
      if (lead) put(knob, { "aria-valuenow": number(lead.name), "aria-valuetext": `${panel.xlabel || "x"} ${written(number(first))}, ${panel.ylabel || "y"} ${written(number(second))}` })
    }
  }

  // --- the address: #play-valley=lr:0.05,start_x:3,step:12, a part for each figure that was changed

  function remember() {
    const changed = all.filter(({ name }) => numbers[name] !== initial[name]).map(({ name }) => `${name}:${numbers[name]}`)
    if (step < spec.steps) changed.push(`step:${step}`)
    const others = state().split("&").filter(part => part.startsWith("play-") && !part.startsWith(`${id}=`))
    const parts = [...others, ...(changed.length ? [`${id}=${changed.join()}`] : [])].join("&")
    const kept = parts ? `#${parts}` : location.hash.startsWith("#play-") ? "" : location.hash
    if (kept !== location.hash) history.replaceState(history.state, "", location.pathname + location.search + kept)
  }
  function apply() {
    const part = state().split("&").find(part => part.startsWith(`${id}=`))
    const given = Object.fromEntries((part?.slice(id.length + 1).split(",") ?? []).map(pair => pair.split(":")).map(([name, value]) => [name, Number(value)]))
    const { step: to, ...some } = Object.fromEntries(Object.entries(given).filter(([, value]) => Number.isFinite(value)))
    step = to === undefined ? spec.steps : Math.max(0, Math.min(spec.steps, Math.round(to)))
    set({ ...initial, ...some }, "")
    return Boolean(part)
  }

  const redraw = () => {
    panels.forEach(lay)
    forget()
    update()
  }
  let width = 0
  /** @param {number} to */
  function fit(to) {
    if (to === width) return
    width = to
    box.closest("figure")?.querySelector(".plot")?.classList.add("played")
    redraw()
  }
  update()
  if (named(box) && apply()) for (const ready of [0, document.fonts.ready]) Promise.resolve(ready).then(() =>
    box.scrollIntoView({ block: box.offsetHeight < innerHeight * 0.8 ? "center" : "start" })) // what stands above may still grow
  Object.assign(box, { explore: /** @type {Hook} */ ({ apply, values: some => compute(spec, { ...initial, ...some }), fit, state: () => ({ ...numbers, step }) }) })
}

/** The figures that have come last: MkDocs' own server has them in the page. */
const specs = () => /** @type {any} */ (window).explorables ?? {}
/** What the address says of figures; it may be none that can be read. */
function state() {
  try {
    return decodeURIComponent(location.hash.slice(1))
  } catch {
    return ""
  }
}
/** @param {Element} box */
const named = box => state().includes(`${box.id}=`)
/** @param {any} box */
const fill = box => { if (!box.firstChild && specs()[box.id]) build(box, specs()[box.id]) }

// Where a browser leaves out what is off the screen, even a question about it makes it lay that out (and it asks itself, of every field of a form,
// when a page is there): a figure is built when it has a width to tell.
const sizes = new ResizeObserver(entries => {
  for (const { target, contentRect: { width } } of /** @type {any[]} */ (entries)) {
    if (!width || !there()) continue
    fill(target)
    target.explore?.fit(width)
  }
})

/** Whether this page's figures have come; else they are asked for. Another page's may come after them, and a line may break. */
function there() {
  const from = document.getElementById("figures")?.dataset.src
  if (!from || from === specs().from) return true
  if (coming.has(from)) return false
  coming.add(from)
  const script = add(document.head, "script", { src: from })
  script.onload = script.onerror = () => coming.delete(from)
  return false
}
const coming = new Set()

function start() {
  steered(false)
  for (const box of /** @type {NodeListOf<any>} */ (document.querySelectorAll(".explore"))) {
    if (named(box) && there()) fill(box)
    sizes.unobserve(box)
    sizes.observe(box) // and be told its width again
  }
}
for (const event of ["hashchange", "popstate"]) window.addEventListener(event, () => {
  if (/^#play-|^$/.test(location.hash)) for (const box of /** @type {NodeListOf<any>} */ (document.querySelectorAll(".explore"))) box.explore?.apply()
  start()
})

window.addEventListener("figures", start)

// Where the theme changes pages without loading them, it says so.
const pages = /** @type {any} */ (window).document$
if (pages) pages.subscribe(start)
else start()
