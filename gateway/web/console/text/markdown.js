/**
 * Markdown as elements.
 *
 * The parser's tokens are turned into elements by the lists below, one by one. No HTML is ever parsed, so what is in no
 * list cannot come to be: HTML in a text is text, and a link leads only where `SAFE` says.
 */

import MarkdownIt from "../vendor/markdown-it.esm.min.mjs";
import { h } from "../dom.js";
import { honest } from "./plain.js";

/** @import { Properties } from "../types.js" */
/** @import { Token } from "../vendor/markdown-it.esm.min.mjs" */

const SAFE = new Set(["http:", "https:", "mailto:"]);
const parser = new MarkdownIt({ html: false, linkify: true, breaks: false, maxNesting: 40 });

/** The tags that a token of nesting 1 may open. */
const TAGS = new Set([
    "p",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "blockquote",
    "ul",
    "ol",
    "li",
    "em",
    "strong",
    "s",
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
]);
const HEADING = /^h[1-6]$/;
const DIRECTED = new Set(["p", "li", "th", "td", "h2"]);

/**
 * The blocks of a text, top level only; `from` and `to` are places in the text.
 *
 * @param {string} markdown
 */
export function blocks(markdown) {
    const starts = lineStarts(markdown);
    const found = [];
    const tokens = parser.parse(markdown, {});
    for (let index = 0; index < tokens.length;) {
        const end = endOf(tokens, index);
        const part = tokens.slice(index, end + 1);
        const [first, last] = part[0]?.map ?? [0, starts.length];
        found.push({
            from: starts[first] ?? markdown.length,
            to: starts[last] ?? markdown.length,
            elements: () => built(part),
        });
        index = end + 1;
    }
    return found;
}

/** @param {string} markdown */
function lineStarts(markdown) {
    const starts = [0];
    for (let place = markdown.indexOf("\n"); place !== -1; place = markdown.indexOf("\n", place + 1))
        starts.push(place + 1);
    return starts;
}

/**
 * @param {Token[]} tokens
 * @param {number} start
 */
function endOf(tokens, start) {
    let depth = 0;
    for (let index = start; index < tokens.length; index += 1) {
        depth += tokens[index]?.nesting ?? 0;
        if (depth <= 0) return index;
    }
    return tokens.length - 1;
}

/** @param {Token[]} tokens */
function built(tokens) {
    const root = document.createDocumentFragment();
    /** @type {(Element | DocumentFragment)[]} */
    const open = [];
    for (const token of tokens) {
        const inner = open.at(-1) ?? root;
        if (token.nesting === 1) {
            const element = opened(token);
            inner.append(element);
            open.push(element);
        } else if (token.nesting === -1) {
            open.pop();
        } else if (token.type === "inline") {
            inner.append(built(token.children ?? []));
        } else {
            inner.append(leaf(token));
        }
    }
    return root;
}

/** @param {Token} token */
function opened(token) {
    if (token.type === "link_open") return link(token.attrGet("href"), token.attrGet("title"));
    if (token.type === "paragraph_open" && token.hidden) return document.createDocumentFragment();
    if (!TAGS.has(token.tag)) return h("span");
    // All of an agent's are one level below the page's: what it leaves out of its own would be a gap in the page's.
    const tag = HEADING.test(token.tag) ? "h2" : token.tag;
    /** @type {Properties} */
    const properties = tag === token.tag ? {} : { class: `heading-${token.tag[1]}` };
    if (DIRECTED.has(tag)) properties.dir = "auto";
    if (tag === "ol" && token.attrGet("start")) properties.start = Number(token.attrGet("start")) || 1;
    // The parser says how a cell is aligned in a style, which the policy forbids.
    const align = /text-align:(left|center|right)/.exec(token.attrGet("style") ?? "")?.[1];
    if (align) properties.class = `align-${align}`;
    if (tag === "th") properties.scope = "col";
    return h(tag, properties);
}

/**
 * @param {Token} token
 * @returns {Node | string}
 */
function leaf(token) {
    switch (token.type) {
        case "text":
            return honest(token.content);
        case "softbreak":
            return "\n";
        case "hardbreak":
            return h("br");
        case "code_inline":
            return h("code", { dir: "ltr" }, honest(token.content));
        case "code_block":
        case "fence":
            return codeBlock(token.content, token.info.trim().split(/\s+/)[0]);
        case "hr":
            return h("hr");
        case "image":
            return image(token);
        default:
            return honest(token.content);
    }
}

/**
 * A picture elsewhere is not fetched: who looks at a transcript would be told of to whoever the agent names.
 *
 * @param {Token} token
 */
function image(token) {
    const said = token.content ? `image: ${token.content}` : "image";
    const element = link(token.attrGet("src"), null);
    element.append(honest(said));
    return element;
}

/**
 * @param {string | null} address
 * @param {string | null} title
 */
function link(address, title) {
    const safe = safeAddress(address);
    if (safe === null) return h("span.no-link", { title: "This link leads to no web page, and was taken away." });
    const shown = title ? `${title} — ${safe}` : safe;
    return h("a", { href: safe, title: honest(shown), target: "_blank", rel: "noopener noreferrer nofollow" });
}

/**
 * An address that a click may lead to; null for any other, and for those that are relative to the console.
 *
 * @param {unknown} address
 */
export function safeAddress(address) {
    if (typeof address !== "string") return null;
    try {
        const url = new URL(address);
        return SAFE.has(url.protocol) ? url.href : null;
    } catch {
        return null;
    }
}

/**
 * @param {string} code
 * @param {string} language
 */
export function codeBlock(code, language = "") {
    const label = language ? `Code, ${language}` : "Code";
    const block = h(
        "pre",
        { tabindex: 0, role: "group", "aria-label": honest(label), dir: "ltr" },
        h("code", honest(code.replace(/\n$/, ""))),
    );
    return h("div.code", language ? h("span.code-language", { "aria-hidden": "true" }, honest(language)) : null, block);
}
