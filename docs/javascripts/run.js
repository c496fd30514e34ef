// Run and edit in the page. The build says in `#python` what blocks need; without that, or where a page was opened as a file, nothing changes.
// Nothing is asked for before the first Run. A worker (python.js) is told `boot`, `open` and `run`; it tells `progress`, `output`, `done` and `failed`.
"use strict"
{
  /** @typedef {{ block: number, cell: boolean, first: number, count: number, needs: number[], parts: string[], native?: string[] }} Told */
  /** @typedef {{ told: Told, at: number, box: HTMLElement, code: string, bar: HTMLElement, go: HTMLButtonElement, edit: HTMLButtonElement, undo: HTMLButtonElement,
   *   reset: HTMLButtonElement, state: HTMLElement, output: HTMLElement, field?: HTMLTextAreaElement, given: string, text: string }} Block */

  const here = document.currentScript.src
  const PATIENCE = 60_000 // ms without a sign of life while Python starts: a policy or a proxy may keep its files away
  const WORDS = /(#[^\n]*)|("""[^]*?"""|'''[^]*?'''|[rbfu]{0,2}"(?:\\.|[^"\\\n])*"|[rbfu]{0,2}'(?:\\.|[^'\\\n])*')|\b(\d[\w.]*)|\b(and|as|assert|async|await|break|class|continue|def|del|elif|else|except|False|finally|for|from|global|if|import|in|is|lambda|None|nonlocal|not|or|pass|raise|return|True|try|while|with|yield)\b/g
  const CLASSES = [, "c1", "s2", "mf", "k"]

  /** @type {Worker | null} */ let worker = null
  /** @type {any} */ let page = null
  /** @type {Block[]} */ let blocks = []
  /** @type {Map<number, Block>} */ let waiting = new Map() // the runs that have not ended
  let opened = false, ready = false, count = 0, alive = 0, from = "", katex = null

  const make = (name, properties = {}, ...children) => {
    const made = Object.assign(document.createElement(name), properties)
    made.append(...children)
    return made
  }

  // ---- The worker ----

  const root = () => new URL(page.base, location.href).href

  function end() {
    worker?.terminate()
    worker = null
    clearTimeout(alive)
  }

  function start() {
    from = root()
    worker = new Worker(new URL("python.js", here), { type: "module" })
    const mine = worker
    worker.onmessage = ({ data }) => mine === worker && heard(data)
    worker.onerror = event => mine === worker && broken(event.message || "it could not be loaded")
    opened = ready = false
    const parts = ["numpy", "package", ...new Set([...waiting.values()].flatMap(block => block.told.parts))]
    tell({ do: "boot", base: from, sizes: page.sizes, parts, source: new URL("page.py", here).href, screens: matchMedia("(max-width: 35em)").matches ? "" : "wide" })
    patience()
  }

  const tell = message => worker.postMessage(message)

  function patience() {
    clearTimeout(alive)
    if (!ready) alive = setTimeout(() => broken("its files do not come"), PATIENCE)
  }

  function heard(data) {
    const block = waiting.get(data.id)
    if (data.do === "progress") {
      patience()
      for (const each of waiting.values()) say(each, `Loading Python: ${(data.moved / 1e6).toFixed(0)} of ${(data.whole / 1e6).toFixed(0)} MB`)
    } else if (data.do === "ready") {
      ready = true
      clearTimeout(alive)
    } else if (data.do === "output" && block) {
      shown(block, data.kind, data.value)
    } else if (data.do === "done" && block) {
      ended(data.id, block, data.good, data.seconds)
    } else if (data.do === "failed") {
      broken(data.why)
    }
  }

  function broken(why) {
    end()
    for (const [id, block] of waiting) {
      write(block, "run-error", `Python could not run here: ${why}`)
      finish(id, block, "")
    }
  }

  // ---- Running ----

  function run(block) {
    if ([...waiting.values()].includes(block)) return
    const id = ++count
    waiting.set(id, block)
    block.output.replaceChildren()
    block.output.hidden = true
    block.text = ""
    block.go.textContent = "Stop"
    block.go.setAttribute("aria-label", `Stop code block ${block.at + 1}`)
    block.bar.classList.add("run--on")
    say(block, worker ? (waiting.size > 1 ? "Waits" : "Runs") : "Starting Python")
    if (!worker) start()
    if (!opened) {
      tell({ do: "open", blocks: blocks.map(each => ({ ...each.told, code: each.code })), statements: page.statements })
      opened = true
    }
    tell({ do: "more", id, parts: block.told.parts })
    tell({ do: "run", id, block: block.at, edits: Object.fromEntries(blocks.filter(each => each.field && each.field.value !== each.code).map(each => [each.at, each.field.value])) })
  }

  function stop() {
    end()
    for (const [id, block] of waiting) finish(id, block, "Stopped. What the page had computed is gone; the next Run computes what it needs again.")
    start() // so that the next one need not wait for it
  }

  function ended(id, block, good, seconds) {
    const told = [`${good ? "Ran" : "Raised"} in ${seconds < 9.95 ? seconds.toFixed(1) : seconds.toFixed(0)} s`]
    const changed = blocks.some(each => each.field && each.field.value !== each.code)
    if (good && !changed && block.given && block.text.trim() === block.given) told.push("as on the page")
    finish(id, block, told.join(", "))
  }

  function finish(id, block, what) {
    waiting.delete(id)
    block.go.textContent = "Run"
    block.go.setAttribute("aria-label", `Run code block ${block.at + 1}`)
    block.bar.classList.remove("run--on")
    block.reset.hidden = false
    say(block, what)
  }

  const say = (block, what) => (block.state.textContent = what)

  function reset() {
    if (waiting.size) stop()
    for (const block of blocks) {
      original(block)
      block.output.replaceChildren()
      block.output.hidden = true
      block.reset.hidden = true
      say(block, "")
    }
    opened = false // the next run opens the page anew: an empty namespace
    blocks.find(block => block.bar.contains(document.activeElement))?.go.focus()
  }

  // ---- What it gives ----

  function shown(block, kind, value) {
    if (kind === "needs") say(block, value[0] < value[1] ? `Runs what it needs: ${value[0] + 1} of ${value[1]}` : "Runs")
    else if (kind === "text") write(block, "run-text", value)
    else if (kind === "error") write(block, "run-error", value)
    else data(block, value)
  }

  function write(block, kind, text) {
    block.output.hidden = false
    if (kind === "run-text") block.text += text
    if (block.output.lastChild?.className !== kind) block.output.append(make("pre", { className: kind, tabIndex: 0 }))
    block.output.lastChild.append(text)
  }

  function data(block, value) {
    block.output.hidden = false
    const figure = Object.values(value).find(each => each && each.svg !== undefined)
    if (figure) return block.output.append(drawn(figure, count))
    if (value["image/svg+xml"]) return block.output.append(drawn({ svg: value["image/svg+xml"], narrow: "" }, count))
    if (value["text/latex"]) return formula(block, value["text/latex"])
    if (value["text/html"]) {
      const box = make("div", { className: "output-html" })
      box.innerHTML = value["text/html"]
      return block.output.append(box)
    }
    write(block, "run-text", (block.text && !block.text.endsWith("\n") ? "\n" : "") + (value["text/plain"] ?? ""))
  }

  /** A drawing's ids are unique on the page only behind a prefix; styles become attributes, which no policy forbids. */
  function drawn({ svg, narrow }, number) {
    const box = make("div", { className: narrow ? "plot" : "plot plot--scroll" })
    if (!narrow) box.tabIndex = 0
    for (const [text, name] of [[svg, "wide"], [narrow, "narrow"]]) {
      if (!text) continue
      const own = text.slice(text.indexOf("<svg")).replace(/( id="|href="#|url\(#)/g, `$1r${number}${name[0]}-`).replace("<svg ", `<svg class="${name}" `)
      const drawing = document.importNode(new DOMParser().parseFromString(`<body>${own.replaceAll(" style=", " data-style=")}`, "text/html").querySelector("svg"), true)
      for (const part of [drawing, ...drawing.querySelectorAll("[data-style]")]) {
        for (const rule of (part.dataset.style ?? "").split(";")) {
          const at = rule.indexOf(":")
          if (at > 0) part.style.setProperty(rule.slice(0, at).trim(), rule.slice(at + 1).trim())
        }
        delete part.dataset.style
      }
      box.append(drawing)
    }
    return box
  }

  function formula(block, text) {
    const box = block.output.appendChild(make("div", { className: "run-formula" }, text))
    const tex = text.trim().replace(/^\$+(\\displaystyle)?|\$+$/g, "")
    katex ??= new Promise((done, fail) => document.head.append(make("script", { src: new URL(page.base + "katex.js", location.href).href, onload: done, onerror: fail })))
    katex.then(() => window.katex.render(tex, box, { displayMode: true, throwOnError: false })).catch(() => {})
  }

  // ---- Editing ----

  function edit(block) {
    if (block.field) return block.field.focus()
    const code = block.box.querySelector("code"), shade = make("code"), n = block.at + 1
    const field = make("textarea", { value: block.code, spellcheck: false, autocapitalize: "off", autocomplete: "off", wrap: "off" })
    field.setAttribute("autocorrect", "off")
    field.setAttribute("aria-label", `Code block ${n}. Ctrl and Enter run it; Tab indents, and leaves after Escape`)
    const box = make("div", { className: "run-editor" }, make("div", {}, make("pre", { ariaHidden: "true" }, shade), field))
    const paint = () => {
      shade.replaceChildren(...painted(field.value), "\n")
      block.bar.classList.toggle("run--edited", field.value !== block.code)
    }
    let leaving = false
    field.addEventListener("input", paint)
    field.addEventListener("keydown", event => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
        event.preventDefault()
        return run(block)
      }
      if (event.key === "Escape") leaving = true
      else if (event.key === "Tab" && !leaving) {
        event.preventDefault()
        indent(field, event.shiftKey)
        paint()
      } else if (event.key === "Enter" && !event.isComposing) {
        event.preventDefault()
        const line = field.value.slice(0, field.selectionStart).split("\n").pop()
        put(field, "\n" + line.match(/^ */)[0] + (/:\s*(#.*)?$/.test(line) ? "    " : ""))
        paint()
      }
      if (event.key !== "Escape" && event.key !== "Tab" && event.key !== "Shift") leaving = false
    })
    field.addEventListener("blur", () => (leaving = false))
    code.closest("pre").hidden = true
    code.closest("pre").after(box)
    block.field = field
    block.undo.hidden = false
    block.edit.setAttribute("aria-pressed", "true")
    paint()
    field.focus({ preventScroll: true })
    field.setSelectionRange(0, 0)
  }

  /** Text typed by us that the browser's undo knows. */
  function put(field, text) {
    if (!document.execCommand?.("insertText", false, text)) {
      field.setRangeText(text, field.selectionStart, field.selectionEnd, "end")
      field.dispatchEvent(new Event("input"))
    }
  }

  function indent(field, back) {
    const { value, selectionStart: from, selectionEnd: to } = field
    if (from === to && !back) return put(field, " ".repeat(4 - (from - (value.lastIndexOf("\n", from - 1) + 1)) % 4))
    const start = value.lastIndexOf("\n", from - 1) + 1
    const lines = value.slice(start, to), moved = back ? lines.replace(/^ {1,4}/gm, "") : lines.replace(/^/gm, "    ")
    field.setSelectionRange(start, to)
    put(field, moved)
    field.setSelectionRange(from === to ? Math.max(start, to + moved.length - lines.length) : start, start + moved.length)
  }

  function painted(text) {
    const found = []
    let at = 0
    for (const match of text.matchAll(WORDS)) {
      found.push(text.slice(at, match.index), make("span", { className: CLASSES[match.slice(1).findIndex(Boolean) + 1] }, match[0]))
      at = match.index + match[0].length
    }
    return [...found, text.slice(at)]
  }

  function original(block) {
    if (!block.field) return
    const back = block.bar.contains(document.activeElement)
    block.field.closest(".run-editor").remove()
    block.box.querySelector("pre").hidden = false
    block.field = undefined
    block.undo.hidden = true
    block.edit.setAttribute("aria-pressed", "false")
    block.bar.classList.remove("run--edited")
    say(block, "")
    if (back) block.edit.focus()
  }

  // ---- A page ----

  function code(box, cell) {
    const shown = box.querySelector("code").cloneNode(true)
    shown.querySelectorAll(".needs").forEach(part => part.remove())
    const lines = shown.textContent.replace(/\n+$/, "").split("\n")
    return cell ? lines.join("\n") : lines.filter(line => /^(>>>|\.\.\.)( |$)/.test(line)).map(line => line.slice(4)).join("\n")
  }

  /** What the page shows of a block's text: below a cell, or among the examples. */
  function given(box, cell) {
    if (cell) return box.nextElementSibling?.matches(".output.highlight") ? box.nextElementSibling.textContent.trim() : ""
    return box.querySelector("code").textContent.split("\n").filter(line => !/^(>>>|\.\.\.)( |$)/.test(line)).join("\n").trim()
  }

  function set() {
    if (waiting.size) end()
    opened = false // Python stays warm from page to page where the theme changes them without loading them
    waiting.clear()
    const said = document.getElementById("python")
    if (!said || location.protocol === "file:" || !window.Worker) return
    page = JSON.parse(said.innerHTML)
    if (root() !== from) end()
    const boxes = new Map([...document.querySelectorAll("[data-block]")].map(box => [box.dataset.block, box]))
    blocks = page.blocks.map((told, at) => {
      const box = boxes.get(String(told.block))
      const button = (text, label, act) => {
        const made = make("button", { type: "button", textContent: text, onclick: act })
        made.setAttribute("aria-label", `${label} code block ${at + 1}`)
        return made
      }
      const block = { told, at, box, text: "", get code() { return code(box, told.cell) }, get given() { return given(box, told.cell) } } // read when one is asked for
      block.go = button("Run", "Run", () => ([...waiting.values()].includes(block) ? stop() : run(block)))
      block.edit = button("Edit", "Edit", () => edit(block))
      block.undo = Object.assign(button("Undo edits", "Undo the edits of", () => original(block)), { hidden: true, title: "This block as it was" })
      block.reset = Object.assign(make("button", { type: "button", textContent: "Reset page", onclick: reset }),
        { hidden: true, title: "Every block as it was, and a Python that knows nothing of what has run" })
      block.state = make("span", { className: "run-state" })
      block.state.setAttribute("role", "status")
      block.bar = make("div", { className: "run" }, block.go, block.edit, block.undo, block.reset, block.state)
      block.output = make("div", { className: "run-output", hidden: true })
      block.output.setAttribute("aria-live", "polite")
      block.output.setAttribute("role", "region")
      block.output.setAttribute("aria-label", `What code block ${at + 1} gives`)
      if (told.native) block.bar.replaceChildren(make("span", { className: "run-state" }, `It uses ${told.native.join(" and ")}, which a browser lacks: it runs on your own computer.`))
      box.append(block.bar, block.output)
      return block
    })
  }

  if (window.document$) window.document$.subscribe(set)
  else set()
}
