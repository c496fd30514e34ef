// What a page says of installing, and what it hands out, names the address for which the site was built. A reader may have it from another.
"use strict"
{
  const root = new URL("..", document.currentScript.src).href
  const built = document.querySelector("meta[name=site]").content

  const correct = () => {
    const drawn = node => (node.matches?.(".katex, svg") ? NodeFilter.FILTER_REJECT : NodeFilter.FILTER_ACCEPT) // most of a page, and no address
    const texts = document.createTreeWalker(document.querySelector(".md-content"), NodeFilter.SHOW_TEXT | NodeFilter.SHOW_ELEMENT, drawn)
    while (texts.nextNode())
      if (/\.whl|url = \{|^https?:/.test(texts.currentNode.data)) texts.currentNode.data = texts.currentNode.data.replaceAll(built, root)

    // A page that was opened as a file may read no other: there its downloads stay as they are.
    if (location.protocol !== "file:")
      for (const link of document.querySelectorAll("a[download]"))
        link.addEventListener("click", async event => {
          event.preventDefault()
          const text = await (await fetch(link.href)).text()
          const href = URL.createObjectURL(new Blob([text.replaceAll(built, root)], { type: link.type }))
          Object.assign(document.createElement("a"), { href, download: link.pathname.split("/").pop() }).click()
        })
  }
  if (root !== built) {
    if (window.document$) window.document$.subscribe(correct)
    else correct()
  }
}
