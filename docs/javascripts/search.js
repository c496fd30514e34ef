// The theme's search, which finds a page's words, given names that readers use for its sections (scripts/book/finding.yml) and their misspellings.
//
// It runs as the theme's worker (`search.js?by=FILE`, the theme's own), stands before it, and passes its messages on: the index (type 0), where it
// learns names and words; a query (2), in which it mends words that begin none it knows; and what was found (3), to which it adds the sections
// so called, first.
"use strict"

const LITTLE = new Set("a an and are can do does for how i in is it my of on or the to use using vs what when which why with".split(" "))
const SETUP = 0, QUERY = 2, RESULT = 3, BETS = 3
const docs = new Map() // by location
const words = new Map() // each word of titles and names, and of texts that use it often, with how often it stands there
let named = [] // { name: its words, whole: the name without spaces, location }
let asked = "" // the last query, mended

const joined = text => text.replace(/\bbatch[ -]?norm(ali[sz]ation|ali[sz]ed)?\b/gi, "batch norm") // a name in three spellings
const spoken = text => joined(text.normalize("NFKC").toLowerCase()).replace(/<[^>]*>/g, " ").replace(/[’']s\b/g, "").replace(/[\s_.,:;!?()[\]{}"'`’\-–/^]+/gu, " ").trim()
const tokens = text => spoken(text).split(" ").filter(Boolean)
const one = word => (/[a-z]{3}s$/.test(word) && !/(ss|us|is)$/.test(word) ? word.slice(0, -1) : word) // in the singular, and American, roughly
  .replace(/is(e|ed|er|ing|ation)$/, "iz$1").replace(/our$/, "or")
const hangul = text => /\p{sc=Hangul}/u.test(text)

function learn({ docs: given }) {
  docs.clear(), words.clear(), (named = [])
  const often = new Map()
  for (const doc of given) {
    docs.set(doc.location, doc)
    const count = doc.boost ? 1 : 20 // words of the reference are rarely asked for
    for (const word of tokens(doc.title)) words.set(word, (words.get(word) ?? 0) + count)
    for (const name of doc.also ?? []) {
      for (const word of tokens(name)) words.set(word, (words.get(word) ?? 0) + count)
      named.push({ ...said(name), location: doc.location })
    }
    for (const word of tokens(doc.text)) if (/^[a-z]{4,}$/.test(word)) often.set(word, (often.get(word) ?? 0) + 1)
  }
  for (const [word, count] of often) if (count >= 3) words.set(word, (words.get(word) ?? 0) + count)
}

// How many letters to add, drop, change or swap with the next; more than `most` is not counted out.
function apart(a, b, most) {
  if (Math.abs(a.length - b.length) > most) return most + 1
  let before = [], last = [...Array(b.length + 1).keys()]
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      row[j] = Math.min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] !== b[j - 1]))
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) row[j] = Math.min(row[j], before[j - 2] + 1)
    }
    if (Math.min(...row) > most) return most + 1
    before = last
    last = row
  }
  return last[b.length]
}

// The word that was meant, where none begins like this.
function mended(word) {
  if (word.length < 4 || !/^[a-z]+$/.test(word)) return word
  const most = word.length < 7 ? 1 : 2
  let best = word, least = most + 1, weight = 0
  for (const [known, count] of words) {
    if (known.startsWith(word)) return word
    if (known.length < 4 || !/^[a-z]+$/.test(known)) continue
    const far = apart(word, known, most) + (known[0] === word[0] ? 0 : 0.5)
    if (far < least || (far === least && count > weight)) (best = known), (least = far), (weight = count)
  }
  return best
}

// The words that carry a name or a question, and all of them in one.
function said(text) {
  const all = tokens(text), carrying = all.filter(word => !LITTLE.has(word)), name = (carrying.length ? carrying : all).map(one)
  return { name, whole: name.join("") }
}

// How well a query speaks of a name: 3 for the same words, 2 while it is being typed, 1 for a query that holds it among other words; more for more words.
function called(query, whole, { name, whole: sought }) {
  if (whole === sought) return 3e3
  if (hangul(sought)) return whole.includes(sought) ? 1e3 + sought.length : sought.startsWith(whole) && whole.length > 1 ? 2e3 : 0
  const last = query.length - 1
  if (last < name.length && query.every((word, at) => (at < last ? word === name[at] : name[at].startsWith(word))) && query.join("").length > 2)
    return 2e3 - (sought.length - whole.length)
  for (let at = 0; at + name.length <= query.length; at++)
    if (name.every((word, i) => word === query[at + i])) return 1e3 + 100 * name.length + sought.length
  return name.length > 1 && name.every(word => query.includes(word)) ? 900 + 100 * name.length : 0
}

function bets(text) {
  const { name: query, whole } = said(text.replace(/[+\-*~]+/g, " "))
  if (!query.length) return []
  const found = new Map()
  for (const entry of named) {
    const score = called(query, whole, entry)
    if (score > (found.get(entry.location) ?? 0)) found.set(entry.location, score)
  }
  // What a query holds besides says nothing of a short name, where a longer one fits.
  const best = Math.max(...found.values())
  return [...found].filter(([, score]) => score >= (best >= 2e3 ? 2e3 - 100 : best - 200)).sort((a, b) => b[1] - a[1]).slice(0, BETS).map(([location]) => location)
}

// What was found, with the sections that are called so first; each group is a page's entry and its sections, the best first.
function ranked(result) {
  const items = result.items.map(group => [...group])
  const highest = Math.max(1, ...items.map(group => group[0].score)) * 2
  const chosen = bets(asked)
  for (const [at, location] of [...chosen.entries()].reverse()) {
    const page = location.split("#")[0], score = highest * (1 + chosen.length - at)
    const index = items.findIndex(group => group[0].location.split("#")[0] === page)
    const group = index < 0 ? [{ ...docs.get(page), score: 0, terms: {} }] : items.splice(index, 1)[0]
    const place = group.findIndex(doc => doc.location === location)
    const doc = place < 0 ? { ...docs.get(location), terms: {} } : group.splice(place, 1)[0]
    items.unshift([{ ...doc, score }, ...group])
  }
  return { ...result, items }
}

const post = self.postMessage.bind(self)
self.postMessage = message => post(message.type === RESULT ? { ...message, data: ranked(message.data) } : message)

addEventListener("message", event => {
  if (event.passedOn) return
  if (event.data.type === SETUP) learn(event.data.data)
  if (event.data.type !== QUERY) return
  event.stopImmediatePropagation()
  asked = joined(event.data.data).replace(/[\p{L}\p{N}]+/gu, word => mended(word.toLowerCase()) === word.toLowerCase() ? word : mended(word.toLowerCase()))
  const next = new MessageEvent("message", { data: { ...event.data, data: asked } })
  next.passedOn = true
  dispatchEvent(next)
})

importScripts(`../assets/javascripts/workers/${new URLSearchParams(location.search).get("by")}`)
