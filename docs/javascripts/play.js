// Figures that the reader steers: an update rule, printed as JavaScript from its one definition, runs on a quadratic.
const SVG = "http://www.w3.org/2000/svg"

function element(parent, name, attributes = {}, text = "") {
  const made = name === "svg" || parent.namespaceURI === SVG ? document.createElementNS(SVG, name) : document.createElement(name)
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value)
  made.textContent = text
  return parent.appendChild(made)
}

function descend(rule, play, values) {
  const paths = play.start.map((w, axis) => {
    let state = Array(play.states).fill(0)
    const path = [w]
    for (let step = 0; step < play.steps; step++) {
      [w, ...state] = rule(w, play.curvatures[axis] * w, ...state, ...values)
      path.push(w)
    }
    return path
  })
  return paths[0].map((x, step) => [x, paths[1][step]])
}

function build(box) {
  const play = JSON.parse(box.dataset.play), rule = window.rules[play.rule]
  const [[left, right], [bottom, top]] = [play.xlim, play.ylim]
  const width = box.clientWidth || 680, unit = width / (right - left), height = unit * (top - bottom)
  const scale = [unit, unit] // one for both axes: angles are true
  const place = ([x, y]) => [(x - left) * scale[0], (top - y) * scale[1]]

  const svg = element(box, "svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "The path that the settings below give" })
  const [x, y] = place([0, 0])
  const far = play.curvatures.reduce((sum, curvature, axis) => sum + curvature * play.start[axis] ** 2, 0)
  for (let ring = 1; ring <= 12; ring++) {
    const [rx, ry] = play.curvatures.map((curvature, axis) => (ring / 6) * Math.sqrt(far / curvature) * scale[axis])
    element(svg, "ellipse", { cx: x, cy: y, rx, ry, class: "ring" })
  }
  element(svg, "path", { d: `M${x - 6} ${y}h12M${x} ${y - 6}v12`, class: "goal" })
  const line = element(svg, "polyline", { class: "path" }), dots = element(svg, "g", { class: "dots" })
  const [startX, startY] = place(play.start)
  element(svg, "circle", { cx: startX, cy: startY, r: 6, class: "start" })

  const form = element(box, "form", { class: "play-controls" })
  const inputs = play.sliders.map(({ name, letter, low, high, value }) => {
    const label = element(form, "label", {}, `${letter} = `)
    const shown = element(label, "output")
    const input = element(label, "input", { type: "range", min: low, max: high, step: (high - low) / 400, value, "aria-label": letter })
    input.value = value
    return { name, input, shown }
  })
  const said = element(box, "p", { class: "play-said", role: "status" })

  function draw(values) {
    inputs.forEach(({ shown }, i) => (shown.textContent = values[i].toFixed(3)))
    const path = descend(rule, play, values)
    const seen = path.filter(([a, b]) => Math.abs(a) + Math.abs(b) < 1e4).map(place)
    line.setAttribute("points", seen.map(point => point.map(v => v.toFixed(1)).join()).join(" "))
    dots.replaceChildren()
    for (const [cx, cy] of seen) element(dots, "circle", { cx: cx.toFixed(1), cy: cy.toFixed(1), r: 2.6 })
    const distance = Math.hypot(...path[path.length - 1]), before = Math.hypot(...play.start)
    said.textContent = distance < before
      ? `After ${play.steps} steps: ${distance.toPrecision(2)} from the minimum.`
      : `After ${play.steps} steps: further away than at the start.`
  }

  form.addEventListener("input", () => draw(inputs.map(({ input }) => Number(input.value))))
  if (play.best)
    element(form, "button", { type: "button" }, "Best in the long run").addEventListener("click", () => {
      for (const { name, input } of inputs) input.value = play.best[name]
      draw(inputs.map(({ name }) => play.best[name]))
    })
  draw(play.sliders.map(({ value }) => value))
  box.previousElementSibling.previousElementSibling.classList.add("played")
}

for (const box of document.querySelectorAll("[data-play]")) build(box)
