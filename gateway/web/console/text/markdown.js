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
const LINE_END = /\r\n?|\n/g;
const MAX_NESTING = 40;
/**
 * What is more intricate takes a browser seconds to lay out, all of it in one step, and nobody reads it as it was meant: it
 * is shown as it was written. Tokens of a block (an item of a list has five), and pieces of one text.
 */
const MOST_TOKENS = 6000;
const MOST_PIECES = 1000;
const parser = new MarkdownIt({ html: false, linkify: true, breaks: false, maxNesting: MAX_NESTING });
keepDefinitions();

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
    const lines = markdown.split(LINE_END);
    const found = [];
    const tokens = parser.parse(markdown, {});
    for (let index = 0; index < tokens.length;) {
        const end = endOf(tokens, index);
        const part = tokens.slice(index, end + 1);
        const [first, last] = part[0]?.map ?? [0, starts.length];
        found.push({
            from: starts[first] ?? markdown.length,
            to: starts[last] ?? markdown.length,
            elements: () => (loses(part, lines) ? asWritten(lines.slice(first, last).join("\n")) : built(part)),
        });
        index = end + 1;
    }
    return found;
}

/**
 * CommonMark shows nothing of a link's definition. But agents write lines that look like one ("[INFO]: done"), and what
 * they wrote is to be seen.
 */
function keepDefinitions() {
    const rules = parser.block.ruler;
    const known = rules.__rules__.find(({ name }) => name === "reference");
    if (!known) throw new Error("The Markdown parser has no rule for definitions.");
    const { fn: read, alt } = known;
    rules.at(
        "reference",
        (state, start, end, isSilent) => {
            if (!read(state, start, end, isSilent)) return false;
            const token = state.push("definition", "", 0);
            token.content = state.getLines(start, state.line, state.blkIndent, false).trim();
            token.map = [start, state.line];
            return true;
        },
        { alt },
    );
}

/**
 * Whether something of a block would not be shown, or take too long.
 *
 * @param {Token[]} part
 * @param {string[]} lines of the whole text
 */
function loses(part, lines) {
    if (part.length > MOST_TOKENS) return true;
    let columns = 0;
    for (const { type, level, map, children } of part) {
        // The parser leaves out what is nested deeper, and cells that have no column.
        if (level >= MAX_NESTING - 1) return true;
        if (type === "table_open") columns = 0;
        else if (type === "th_open") columns += 1;
        else if (type === "tr_open" && map && columns && cells(lines[map[0]] ?? "") > columns) return true;
        else if (children && children.length > MOST_PIECES) return true;
    }
    return false;
}

/**
 * How many cells a table's row has.
 *
 * @param {string} row
 */
function cells(row) {
    const plain = row.replaceAll(/\\./g, "").replace(/^[\s>]*\|?/, "");
    return plain.replace(/\|?\s*$/, "").split("|").length;
}

/** @param {string} text */
function asWritten(text) {
    return h("p.as-written", { dir: "auto" }, honest(text));
}

/** @param {string} markdown */
function lineStarts(markdown) {
    return [0, ...Array.from(markdown.matchAll(LINE_END), (end) => end.index + end[0].length)];
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
        if (token.type === "paragraph_open" && token.hidden) {
            // An item without empty lines around it holds its text itself.
            open.push(inner);
        } else if (token.nesting === 1) {
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
        case "definition":
            return asWritten(token.content);
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
