// On a small screen the navigation is a drawer that a label opens, and its panels change by labels, which keys do not reach: the first becomes a
// button. This script stands behind the first part of a page, so that a browser shows that part, and the buttons work, before it reads on.
"use strict"
if (!document.querySelector(".menu")) { // where pages change without being loaded, it stands in each of them
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
