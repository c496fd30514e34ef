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
      box.setAttribute("tabindex", 0)
      box.setAttribute("role", "group")
      if (!box.hasAttribute("aria-label")) box.setAttribute("aria-label", box.tagName === "CODE" ? "code" : "table")
    })
  }
  let due = 0 // it measures every block: once, when the page has come to rest
  const soon = () => { due ||= setTimeout(() => { due = 0; cure() }, 200) }
  const changes = new MutationObserver(records => {
    const theirs = records.filter(({ type }) => type === "attributes").map(({ target }) => target).filter(box => box.matches("pre > code[role=group]:not([tabindex])"))
    for (const box of theirs) if (box.scrollWidth > box.clientWidth) box.setAttribute("tabindex", 0)
    if (records.some(({ type }) => type === "childList")) soon()
  })
  addEventListener("resize", soon)
  document.addEventListener("contentvisibilityautostatechange", event => event.skipped || cure(event.target), true)
  document.addEventListener("toggle", event => event.target.open && cure(event.target), true)
  addEventListener("load", () => {
    const watch = () => {
      changes.disconnect()
      changes.observe(document.querySelector(".md-content"), { childList: true, subtree: true, attributeFilter: ["tabindex"] })
      cure()
    }
    if (window.document$) window.document$.subscribe(watch)
    else watch()
  })

  // The drawer opens by labels: Enter presses them by the theme's doing, Space and Escape by this. Whoever comes by keys goes on in the drawer.
  const drawer = document.getElementById("__drawer"), labels = [...document.querySelectorAll("label[role=button][for=__drawer]")]
  const shown = () => labels.forEach(label => label.setAttribute("aria-expanded", drawer.checked))
  let by = null // the label that a key has pressed
  drawer.addEventListener("change", shown)
  shown()
  document.addEventListener("click", event => {
    const label = event.target.closest("label[role=button][for=__drawer]")
    if (!label) return
    const contents = document.getElementById("__toc"), here = label.matches(".contents")
    if (contents && !drawer.checked) contents.checked = here
    by = document.activeElement === label && !event.detail ? label : null
    setTimeout(() => { // until the panel is there
      if (!drawer.checked) return
      const active = [...document.querySelectorAll(`.md-nav--primary ${here ? ".md-nav--secondary " : ""}.md-nav__link--active`)].filter(link => link.checkVisibility?.({ visibilityProperty: true }) ?? true)
      const at = active.at(-1) ?? document.querySelector(`.md-nav--primary ${here ? ".md-nav--secondary " : ""}a.md-nav__link`)
      at?.scrollIntoView({ block: "center" })
      if (by) at?.focus()
    }, 300)
  })
  document.addEventListener("keydown", event => {
    if (event.key === " " && event.target.matches?.("label[role=button]")) {
      event.preventDefault()
      event.target.click()
    } else if (event.key === "Escape" && drawer.checked) {
      drawer.click()
      by?.focus()
    }
  })
}
