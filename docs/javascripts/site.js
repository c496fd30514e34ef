// What the theme does on every page, set right; it runs before the theme's own script.
"use strict"
{
  const { open, send } = XMLHttpRequest.prototype, searching = /[?&][qh]=/.test(location.search)

  // Of pages opened as files the theme would change none, and tell no script that the page is there.
  if (location.protocol === "file:") {
    const said = document.getElementById("__config"), config = JSON.parse(said.textContent)
    config.features = config.features.filter(feature => feature !== "navigation.instant")
    said.textContent = JSON.stringify(config)
  }

  // The theme changes pages without loading them where the site's map names them. The map names the host for which the site was built; the
  // navigation names the same pages wherever it is read from.
  const map = () => {
    const pages = new Set([...document.querySelectorAll(".md-nav--primary a[href], .md-logo[href]")].map(link => link.href.split("#")[0]))
    const lines = [...pages].map(page => `<url><loc>${page.replaceAll("&", "&amp;")}</loc></url>`)
    return URL.createObjectURL(new Blob([`<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">${lines.join("")}</urlset>`], { type: "application/xml" }))
  }

  // The index of the search is larger than any page, and the theme asks for it at once: here, when a reader turns to the search.
  XMLHttpRequest.prototype.open = function (method, address, ...rest) {
    this.waits = !searching && String(address).endsWith("search_index.json")
    return open.call(this, method, String(address).endsWith("/sitemap.xml") ? map() : address, ...rest)
  }
  XMLHttpRequest.prototype.send = function (body) {
    if (!this.waits) return send.call(this, body)
    document.addEventListener("focusin", event => {
      if (this.waits && event.target.matches("[data-md-component=search-query]")) {
        this.waits = false
        send.call(this, body)
      }
    })
  }

  // Material makes a nav of every code block's buttons, all without a name: they are no landmarks (axe: landmark-unique).
  // What is too wide for the screen scrolls in a box that the keyboard must reach (axe: scrollable-region-focusable), and what does not scroll
  // is no stop. Material cares for code where there is a mouse, and takes the attribute away elsewhere.
  const drawn = box => box.checkVisibility?.({ contentVisibilityAuto: true }) ?? true // else to measure it would draw it
  const cure = (within = document) => {
    within.querySelectorAll(".md-code__nav:not([role])").forEach(nav => nav.setAttribute("role", "none"))
    const boxes = [...within.querySelectorAll(":is(.md-typeset__scrollwrap, pre > code, .math, .derivation)")].filter(box => within !== document || drawn(box))
    const wide = boxes.map(box => box.scrollWidth > box.clientWidth) // all are measured before any is changed
    boxes.forEach((box, at) => {
      if (!wide[at]) return box.removeAttribute("tabindex")
      const label = box.getAttribute("aria-label") ?? (box.tagName === "CODE" ? "code" : "table")
      for (const [name, value] of Object.entries({ tabindex: "0", role: "group", "aria-label": label })) if (box.getAttribute(name) !== value) box.setAttribute(name, value)
    })
  }

  // What lies above is laid out only as it comes near, and is longer or shorter than was thought. So a place that a link names stays, for some
  // seconds or until the reader moves the page, where the link brought it; and where a reader comes back to a page, or loads it anew, what was read
  // is found by the heading above it: `sessionStorage` has its id and how far from the top it was.
  let sought = null, end = 0 // an id, and its distance from the top if it is known
  const keep = () => {
    const there = sought && document.getElementById(sought.id)
    if (!there) return
    if (sought.top === undefined) there.scrollIntoView()
    else scrollBy({ top: there.getBoundingClientRect().top - sought.top, behavior: "instant" })
  }
  const seek = (id, top) => {
    sought = id ? { id, top } : null
    clearTimeout(end)
    end = setTimeout(() => (sought = null), 5000)
  }
  const tried = act => { try { return act() } catch { return null } } // an address may be none, and a browser keep nothing
  const named = hash => tried(() => decodeURIComponent(hash.slice(1)))
  const left = () => tried(() => JSON.parse(sessionStorage.getItem(`place ${location.href}`)))
  let page = location.pathname, back = null, noting = 0, followed = 0
  const note = () => {
    const above = [...document.querySelectorAll(".md-content :is(h1, h2, h3)[id]")].findLast(heading => heading.getBoundingClientRect().top < innerHeight / 2)
    if (above && !sought && page === location.pathname) tried(() => sessionStorage.setItem(`place ${location.href}`, JSON.stringify([above.id, above.getBoundingClientRect().top])))
  }
  if (performance.getEntriesByType("navigation")[0]?.type === "navigate") seek(named(location.hash))
  else back = left()
  document.addEventListener("click", ({ target }) => {
    sought = null
    note() // what was kept of this address may be of another time
    seek(named(target.closest("a[href]")?.hash ?? ""))
    followed = performance.now()
  })
  for (const hand of ["wheel", "touchmove", "keydown", "pointerdown"]) addEventListener(hand, () => (sought = null), { capture: true, passive: true })
  addEventListener("popstate", () => {
    if (performance.now() - followed < 100) return // a link within the page
    sought = null
    back = left()
    if (location.pathname === page) arrived()
  })
  addEventListener("scroll", () => {
    clearTimeout(noting)
    noting = setTimeout(note, 100)
  }, { passive: true })
  document.addEventListener("contentvisibilityautostatechange", keep, true)
  const arrived = () => {
    page = location.pathname
    if (!back) return
    seek(...back)
    back = null
    for (const later of [0, 100, 500]) setTimeout(keep, later) // the browser and the theme go by pixels meanwhile
  }

  let due = 0 // it measures every block: once, when the page has come to rest
  const soon = () => { due ||= setTimeout(() => { due = 0; cure() }, 200) }
  const changes = new MutationObserver(records => {
    for (const { target } of records) if (target.matches?.("pre > code[role=group]:not([tabindex])") && target.scrollWidth > target.clientWidth) target.setAttribute("tabindex", 0)
    soon()
  })
  addEventListener("resize", soon)
  document.addEventListener("contentvisibilityautostatechange", event => event.skipped || cure(event.target), true)
  document.addEventListener("toggle", event => event.target.open && cure(event.target), true)
  // Of what is not laid out a screen reader hears nothing: once the page has been at rest for a while, or a key is pressed, all of it is, a section at a time.
  const rests = window.requestIdleCallback ?? (act => setTimeout(act, 200))
  const whole = () => rests(() => {
    const part = [...document.querySelectorAll(".part")].find(part => !part.style.contentVisibility)
    if (!part) return
    const { bottom, height } = part.getBoundingClientRect()
    part.style.contentVisibility = "visible"
    if (bottom <= 0 && !CSS.supports("overflow-anchor", "auto")) scrollBy(0, part.getBoundingClientRect().height - height) // else the browser holds what is read
    cure(part)
    whole()
  })
  addEventListener("keydown", whole, { once: true })
  let resting = 0
  addEventListener("load", () => {
    const watch = () => {
      changes.disconnect()
      changes.observe(document.querySelector(".md-content"), { childList: true, subtree: true, attributeFilter: ["tabindex"] })
      cure()
      arrived()
      clearTimeout(resting)
      resting = setTimeout(whole, 6000)
    }
    if (window.document$) window.document$.subscribe(watch)
    else watch()
  })

  // On a small screen the navigation is a drawer that a label opens, and its panels change by labels, which keys do not reach: the first becomes a button.
  const drawer = document.getElementById("__drawer"), label = document.querySelector(".md-header__button[for=__drawer]"), contents = document.querySelector(".contents")
  const menu = Object.assign(document.createElement("button"), { type: "button", className: "md-header__button md-icon menu" })
  menu.setAttribute("aria-label", document.querySelector(".md-nav--primary").getAttribute("aria-label"))
  menu.append(...label.children)
  label.replaceWith(menu)
  contents.hidden = false
  const offer = () => (contents.style.visibility = document.querySelector(".md-nav__link[for=__toc]") ? "" : "hidden") // by `:has()` of the body it would be asked for each element that comes
  offer()
  addEventListener("load", () => window.document$?.subscribe(offer))
  let opener = menu
  const opens = (button, byKey) => {
    opener = button
    const inside = button === contents ? ".md-nav--primary .md-nav--secondary" : ".md-nav--primary", panel = document.getElementById("__toc")
    if (panel) panel.checked = button === contents
    drawer.click()
    for (const label of document.querySelectorAll(".md-nav--primary :is(.md-nav__link, .md-nav__title)[for]")) label.tabIndex = 0
    setTimeout(() => { // when it is there
      const links = [...document.querySelectorAll(`${inside} .md-nav__link`)].filter(link => link.checkVisibility?.({ visibilityProperty: true }) ?? link.offsetParent)
      const active = links.filter(link => link.matches(".md-nav__link--active")).at(-1) ?? links[0]
      let list = active?.closest(".md-nav__list") // to scroll by hand: scrollIntoView moves what only hides, too
      while (list && !/auto|scroll/.test(getComputedStyle(list).overflowY)) list = list.parentElement
      if (list) list.scrollTop += active.getBoundingClientRect().top - list.getBoundingClientRect().top - list.clientHeight / 2
      if (byKey) active?.focus({ preventScroll: true })
    }, 300)
  }
  for (const button of [menu, contents]) button.addEventListener("click", event => drawer.checked ? drawer.click() : opens(button, !event.detail))
  const said = () => [menu, contents].forEach(button => button.setAttribute("aria-expanded", drawer.checked && button === opener))
  drawer.addEventListener("change", said)
  said()
  addEventListener("focusin", ({ target }) => drawer.checked && target !== drawer && !target.closest(".md-sidebar--primary, .md-header") && drawer.click())
  addEventListener("keydown", event => {
    if (event.key === " " && event.target.matches?.("label[tabindex]")) { // Enter presses it by the theme's doing
      event.preventDefault()
      event.target.click()
    } else if (event.key === "Escape") {
      document.querySelectorAll(".md-tooltip2--active").forEach(tip => tip.classList.remove("md-tooltip2--active"))
      if (!drawer.checked) return
      drawer.click()
      opener.focus()
    }
  })
}
