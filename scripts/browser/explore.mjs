// Whether every figure that the reader steers can be steered: node explore.mjs SITE [--pages optimization/momentum,index.html] [--browsers chromium,firefox] [--times]
//
// In each browser each figure's numbers are held to those that Python wrote beside it; sliders, handles, the time bar, marks and Reset are worked by
// keyboard alone and by touch; the address must bring a state back on reload, back and forward; the time from an input to the drawn frame is
// measured, in Chromium at a quarter of the speed as well, and is a fault where it is too long and `--times` says that the machine has nothing
// else to do; axe looks at it. Prints times, a line for each fault and a count; exits with 1 if there are faults.

import { readdirSync, readFileSync } from "node:fs"
import { createRequire } from "node:module"
import { join, resolve } from "node:path"
import { parseArgs } from "node:util"
import puppeteer from "puppeteer-core"
import { BROWSERS, fail, launching, serve, whole } from "./site.mjs"

const MEDIAN = 20, SLOWEST = 50, THROTTLED = 80 // milliseconds from an input to its frame: of half, of 95 in 100, of half at a quarter of the speed

const { values, positionals } = parseArgs({ allowPositionals: true, options: { pages: { type: "string" }, browsers: { type: "string" }, times: { type: "boolean" } } })
const site = resolve(positionals[0] ?? "site")
const pages = readdirSync(site, { recursive: true }).map(String).filter(name => name.endsWith("index.html") && readFileSync(join(site, name), "utf8").includes('class="explore"')
  && (!values.pages || values.pages.split(",").some(page => [page, `${page}/index.html`].includes(name)))).sort()
if (!pages.length) fail(`${site}: no page has a figure to steer`)
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8")
const { server, address } = await serve(site)
const faults = [], wait = time => new Promise(done => setTimeout(done, time))

// What runs in the page; `id` is a figure's.
const there = {
  ids: () => [...document.querySelectorAll(".explore")].map(box => box.id),
  state: id => document.getElementById(id).explore.state(),
  // The largest difference from what Python computed, relative to sizes above 1, and how many numbers were compared.
  numbers: id => {
    let worst = [0, ""], count = 0
    for (const { at, values } of window.explorables[id].checks) {
      const known = document.getElementById(id).explore.values(at)
      for (const [name, wanted] of Object.entries(values)) {
        const series = Array.isArray(known[name]) ? known[name] : [known[name]]
        const found = [series[0], series[Math.floor(series.length / 2)], series[series.length - 1]]
        wanted.forEach((number, i) => {
          if (number === null || Math.abs(number) > 1e100) return
          count++
          const off = Math.abs(found[i] - number) / Math.max(1, Math.abs(number))
          if (!(off <= worst[0])) worst = [off, `${name} at ${JSON.stringify(at)}: ${found[i]} for ${number}`]
        })
      }
    }
    return { worst, count }
  },
  // Milliseconds from an input event to the frame that shows it, for inputs all along each slider and for drags of each handle.
  times: async id => {
    const box = document.getElementById(id), found = []
    const after = () => new Promise(done => requestAnimationFrame(() => { const port = new MessageChannel(); port.port1.onmessage = done; port.port2.postMessage(0) }))
    box.scrollIntoView({ block: "center" })
    for (const input of box.querySelectorAll(".explore-track input")) for (let i = 0; i <= 30; i++) {
      await new Promise(done => setTimeout(done, 3 + (i * 7) % 13)) // at any moment between two frames
      const begun = performance.now()
      input.value = String(Math.round((Number(input.max) * i) / 30))
      input.dispatchEvent(new Event("input", { bubbles: true }))
      await after()
      found.push(performance.now() - begun)
    }
    for (const handle of box.querySelectorAll(".handle[tabindex]")) for (let i = 0; i < 20; i++) {
      await new Promise(done => setTimeout(done, 3 + (i * 7) % 13))
      const begun = performance.now()
      handle.dispatchEvent(new KeyboardEvent("keydown", { key: i < 10 ? "ArrowLeft" : "ArrowRight", bubbles: true }))
      await after()
      found.push(performance.now() - begun)
    }
    return found
  },
}

const quantile = (list, share) => [...list].sort((a, b) => a - b)[Math.min(list.length - 1, Math.floor(share * list.length))]

for (const name of (values.browsers ?? Object.keys(BROWSERS).join()).split(",")) {
  const browser = await puppeteer.launch(launching(name))
  const all = [], slow = []
  let compared = 0, worstOff = 0
  for (const page of pages) {
    const tab = await browser.newPage()
    tab.setDefaultTimeout(120_000) // a machine may have much else to do
    await tab.setViewport({ width: 1280, height: 900 })
    const say = what => faults.push(`${name}, ${page.replace(/\/?index\.html$/, "") || "home"}: ${what}`)
    tab.on("pageerror", error => /Invalid markup/.test(error.message) || say(`error: ${error.message}`)) // Firefox says so of a formula that has come by half
    tab.on("console", message => message.type() === "error" && !/favicon/.test(message.text() + message.location()?.url) && say(`console: ${message.text()}`))
    const load = async (hash = "") => {
      await tab.goto("about:blank")
      await tab.goto(address(page) + hash, { waitUntil: "load" })
      if (!(await whole(tab))) say("a figure is not built")
    }
    await load()
    for (const id of await tab.evaluate(there.ids)) {
      const same = (a, b) => JSON.stringify(a) === JSON.stringify(b)
      const state = () => tab.evaluate(there.state, id)
      const settle = () => wait(650) // an address is written when the hand has come to rest
      const first = await state()

      // numbers
      const { worst, count } = await tab.evaluate(there.numbers, id)
      compared += count
      worstOff = Math.max(worstOff, worst[0])
      if (!(worst[0] <= 1e-9)) say(`${id}: off by ${worst[0].toExponential(1)}: ${worst[1]}`)

      // by keyboard alone: every control is reached by Tab, in order, and changes what it should
      await tab.evaluate(id => {
        const box = document.getElementById(id)
        box.scrollIntoView({ block: "center" })
        const before = document.createElement("button")
        box.before(before)
        before.focus()
      }, id)
      const wanted = await tab.evaluate(id => document.getElementById(id).querySelectorAll("[tabindex='0'], input, button:not([hidden])").length, id)
      const reached = []
      for (let i = 0; i < wanted; i++) {
        await tab.keyboard.press("Tab")
        const at = await tab.evaluate(id => {
          const box = document.getElementById(id), now = document.activeElement
          if (!box.contains(now)) return null
          const named = now.getAttribute("aria-label") || now.labels?.[0]?.textContent || now.textContent
          return { kind: now.localName === "input" ? "slider" : now.classList.contains("handle") ? "handle" : "button", named: named.trim(), seen: now.matches(":focus-visible") }
        }, id)
        if (!at) break
        reached.push(at)
        if (!at.named) say(`${id}: a ${at.kind} has no name`)
        if (!at.seen) say(`${id}: ${at.named}: its focus cannot be seen`)
        if (at.kind === "button") continue
        const before = await state()
        for (const key of ["ArrowLeft", "ArrowLeft", "ArrowRight"]) { // where it stands at its left end, to the right
          if (!same(before, await state()) && key === "ArrowRight") break
          await tab.keyboard.press(key)
          await wait(40)
        }
        if (same(before, await state())) say(`${id}: ${at.named}: the arrow keys change nothing`)
      }
      if (reached.length < wanted) say(`${id}: Tab reaches ${reached.length} of ${wanted} controls`)
      const said = await tab.evaluate(id => document.querySelector(`#${id} .explore-said`).textContent, id)
      await settle()
      if (said && (await tab.evaluate(id => document.querySelector(`#${id} [role=status]`).textContent, id)) !== said) say(`${id}: what is seen is not said to a screen reader`)

      // the address
      const changed = await state()
      if (!(await tab.evaluate(() => location.hash)).includes(`${id}=`)) say(`${id}: the address does not hold what was set`)
      await tab.reload({ waitUntil: "load" })
      await wait(200)
      if (!same(changed, await state())) say(`${id}: a reload gives ${JSON.stringify(await state())} for ${JSON.stringify(changed)}`)
      await tab.goto(address("404.html"), { waitUntil: "load" })
      await tab.evaluate(() => setTimeout(() => history.back())).catch(() => {})
      await wait(400)
      await tab.waitForFunction(id => document.getElementById(id)?.explore, { timeout: 10_000 }, id).catch(() => say(`${id}: going back builds no figure`))
      if (!same(changed, await state())) say(`${id}: going back gives ${JSON.stringify(await state())} for ${JSON.stringify(changed)}`)
      await tab.evaluate(id => (location.hash = `#${id}=step:1`), id)
      await wait(150)
      await tab.evaluate(() => history.back())
      await wait(200)
      if (!same(changed, await state())) say(`${id}: back within the page gives ${JSON.stringify(await state())} for ${JSON.stringify(changed)}`)
      await tab.evaluate(() => history.forward())
      await wait(200)
      if (first.step && (await state()).step !== 1) say(`${id}: forward within the page does not bring its state`)

      // Play and Reset
      const press = words => tab.evaluate((id, words) => [...document.querySelectorAll(`#${id} button`)].find(button => button.textContent === words)?.click(), id, words)
      if (first.step) {
        await press("Play")
        for (let i = 0; i < 50 && (await state()).step < 2; i++) await wait(100)
        await press("Pause")
        if ((await state()).step < 2) say(`${id}: Play does not play`)
        if (name === "chromium") { // who wants less motion gets eight still frames
          await tab.emulateMediaFeatures([{ name: "prefers-reduced-motion", value: "reduce" }])
          await press("Reset")
          await press("Play")
          await wait(400)
          if ((await state()).step !== Math.ceil(first.step / 8)) say(`${id}: Play moves for a reader who wants less motion`)
          await press("Pause")
          await tab.emulateMediaFeatures([])
        }
      }
      await press("Reset")
      await settle()
      if (!same(first, await state())) say(`${id}: Reset gives ${JSON.stringify(await state())}`)
      if (/play-/.test(await tab.evaluate(() => location.hash))) say(`${id}: Reset leaves its state in the address`)

      // marks
      const jumps = await tab.evaluate(id => [...document.querySelectorAll(`#${id} .explore-slider button:not([hidden])`)].map(button => {
        const state = () => JSON.stringify(document.getElementById(id).explore.state())
        const input = button.closest(".explore-slider").querySelector("input")
        return [input.min, input.max].some(end => { // from one of them it leads away
          input.value = end
          input.dispatchEvent(new Event("input"))
          const before = state()
          button.click()
          return state() !== before
        })
      }), id)
      if (jumps.includes(false)) say(`${id}: a mark sets nothing`)
      await press("Reset")
      const kept = await tab.evaluate(id => {
        const { sliders } = window.explorables[id], inputs = document.querySelectorAll(`#${id} .explore-slider input`)
        const move = name => {
          const input = inputs[sliders.findIndex(slider => slider.name === name)]
          input.value = input.value === input.max ? input.min : input.max
          input.dispatchEvent(new Event("input"))
        }
        return sliders.flatMap(({ name, resets }) => resets.filter(other => {
          const { value } = sliders.find(slider => slider.name === other)
          move(other)
          move(name)
          return document.getElementById(id).explore.state()[other] !== value
        }))
      }, id)
      if (kept.length) say(`${id}: ${kept} is not reset`)
      await press("Reset")

      // axe
      await tab.evaluate(axe)
      const found = await tab.evaluate(async id => (await window.axe.run(document.getElementById(id))).violations.map(({ id: rule, nodes }) => `${rule}: ${nodes[0].html.slice(0, 100)}`), id)
      for (const violation of found) say(`${id}: axe: ${violation}`)

      // times
      const times = await tab.evaluate(there.times, id)
      all.push(...times)
      if (name === "chromium") {
        await tab.emulateCPUThrottling(4)
        slow.push(...(await tab.evaluate(there.times, id)))
        await tab.emulateCPUThrottling(1)
      }
      await press("Reset")
      await settle()
    }
    await tab.close()

    // by touch, on a phone: the time bar's and the sliders' drags are the browser's own; handles are ours
    if (name === "chromium") {
      const phone = await browser.newPage()
      await phone.setViewport({ width: 360, height: 740, hasTouch: true, isMobile: true })
      await phone.goto(address(page), { waitUntil: "load" })
      await phone.evaluate(() => document.querySelectorAll(".part").forEach(part => (part.style.contentVisibility = "visible"))) // what is laid out above moves the page
      for (const id of await phone.evaluate(there.ids)) {
        for (const handle of await phone.$$(`#${id} .handle[tabindex]`)) {
          const before = await phone.evaluate(there.state, id)
          await handle.evaluate(knob => knob.scrollIntoView({ block: "center" }))
          await wait(150)
          const { x, y, edge } = await handle.evaluate(knob => {
            const { left, top, width, height } = knob.querySelector(".ring").getBoundingClientRect()
            return { x: left + width / 2, y: top + height / 2, edge: knob.parentElement.getBoundingClientRect().left + 60 }
          })
          const scrolled = await phone.evaluate(() => scrollY)
          await handle.evaluate(knob => knob.addEventListener("pointercancel", () => (knob.dataset.lost = "1")))
          const touch = await phone.touchscreen.touchStart(x, y)
          const to = x - 40 > edge ? x - 40 : x + 40
          for (let i = 1; i <= 10; i++) await touch.move(x + ((to - x) * i) / 10, y + 4 * i)
          await touch.end()
          await wait(100)
          if (JSON.stringify(before) === JSON.stringify(await phone.evaluate(there.state, id))) faults.push(`${name}, ${page}: ${id}: a finger does not move the handle`)
          if (await handle.evaluate(knob => knob.dataset.lost)) faults.push(`${name}, ${page}: ${id}: the browser takes the finger from the handle`)
          if (Math.abs((await phone.evaluate(() => scrollY)) - scrolled) > 2) faults.push(`${name}, ${page}: ${id}: the page scrolls under a finger on the handle`)
        }
        const wide = await phone.evaluate(id => document.getElementById(id).scrollWidth > document.getElementById(id).clientWidth + 1, id)
        if (wide) faults.push(`${name}, ${page}: ${id}: wider than a phone`)
      }
      await phone.close()
    }
  }
  await browser.close()
  const [median, most] = [quantile(all, 0.5), quantile(all, 0.95)]
  console.log(`${name}: ${compared} numbers against Python's, at most ${worstOff.toExponential(1)} apart; input to frame: median ${median.toFixed(1)} ms, 95 % within ${most.toFixed(1)} ms`
    + (slow.length ? `; at a quarter of the speed: median ${quantile(slow, 0.5).toFixed(1)} ms, 95 % within ${quantile(slow, 0.95).toFixed(1)} ms` : ""))
  if (values.times && (median > MEDIAN || most > SLOWEST)) faults.push(`${name}: too slow: median ${median.toFixed(1)} ms, 95 % ${most.toFixed(1)} ms`)
  if (values.times && slow.length && quantile(slow, 0.5) > THROTTLED) faults.push(`${name}: too slow at a quarter of the speed: median ${quantile(slow, 0.5).toFixed(1)} ms`)
}
server.close()
for (const fault of faults) console.log(fault)
console.log(`${pages.length} pages, ${faults.length} faults`)
process.exit(faults.length ? 1 : 0)
