/** ACP content blocks, whatever is in them. */

import { h } from "../dom.js";
import { icon } from "../icons.js";
import { Elsewhere } from "../model/elsewhere.js";
import { isObject } from "../model/updates.js";
import { safeAddress } from "../text/markdown.js";
import { oneLine, output, pretty } from "../text/plain.js";
import { changeView } from "./diff.js";
import { whenNear, whenWanted } from "./elsewhere.js";

/** @import { ContentBlock, Foreign } from "../types.js" */

/** @type {Set<unknown>} */
const PICTURES = new Set(["image/png", "image/jpeg", "image/gif", "image/webp"]);
const MOST_CHARACTERS = 20_000;

/**
 * A block that is no text of a message.
 *
 * @param {unknown} block
 */
export function blockView(block) {
    if (!isObject(block)) return json("Content", block);
    switch (block.type) {
        case "text":
            return plain(block.text);
        case "image":
            return picture(block);
        case "resource_link":
            return reference(block.title || block.name || block.uri, block.uri);
        case "resource":
            return resource(isObject(block.resource) ? block.resource : {});
        case "audio":
            return attachment("sound", block.mimeType, block.data);
        default:
            return json("Content", block);
    }
}

/**
 * What a tool call holds: content, a diff, a terminal.
 *
 * @param {unknown} entry
 */
export function toolContentView(entry) {
    if (!isObject(entry)) return json("Content", entry);
    switch (entry.type) {
        case "content":
            return blockView(entry.content);
        case "diff":
            return changeView(entry) ?? json("Content", entry);
        case "terminal":
            return null; // its command is an entry of its own
        default:
            return json("Content", entry);
    }
}

/**
 * Text in a box of its own, with the rest of a long one on demand.
 *
 * @param {unknown} text
 * @param {string} label
 * @returns {HTMLElement}
 */
export function plain(text, label = "Text") {
    if (text instanceof Elsewhere)
        return whenWanted([text], text.beginning ? plain(text.beginning, label) : null, ([all]) => plain(all, label));
    const all = output(text ?? "");
    const code = h("code", all.slice(0, MOST_CHARACTERS));
    const box = h("pre.output", { tabindex: 0, role: "group", "aria-label": label, dir: "ltr" }, code);
    if (all.length <= MOST_CHARACTERS) return box;
    const rest = all.length - MOST_CHARACTERS;
    /** @type {HTMLElement} */
    const more = h(
        "button.quiet",
        { type: "button", on: { click: () => (code.append(all.slice(MOST_CHARACTERS)), more.remove()) } },
        `Show ${rest.toLocaleString()} more characters`,
    );
    return h("div", box, more);
}

/**
 * @param {string} label
 * @param {unknown} value
 * @returns {HTMLElement}
 */
export function json(label, value) {
    if (value instanceof Elsewhere && value.mediaType === "application/json")
        return whenWanted([value], null, ([all]) => json(label, JSON.parse(all ?? "null")));
    if (value instanceof Elsewhere) return plain(value, label);
    return plain(pretty(value), label);
}

/** @param {ContentBlock} block */
function picture({ data, mimeType }) {
    const isThere = typeof data === "string" || data instanceof Elsewhere;
    if (!PICTURES.has(mimeType) || !isThere) return attachment("picture", mimeType, data);
    const alt = "Picture from the session";
    if (data instanceof Elsewhere) return whenNear(data, h("img.picture", { alt }));
    return h("img.picture", { src: `data:${mimeType};base64,${data}`, alt });
}

/**
 * @param {string} what
 * @param {unknown} mimeType
 * @param {unknown} data
 */
function attachment(what, mimeType, data) {
    const bytes = data instanceof Elsewhere ? data.size : typeof data === "string" ? (data.length * 3) / 4 : null;
    const size = bytes === null ? "" : `, ${Math.round(bytes).toLocaleString()} bytes`;
    return h("p.attachment", icon("file"), oneLine(`${what} (${mimeType ?? "of unknown type"}${size})`));
}

/**
 * @param {unknown} name
 * @param {unknown} uri
 */
function reference(name, uri) {
    const safe = safeAddress(uri);
    const shown = oneLine(name ?? "link", 200);
    if (safe === null) return h("p.attachment", icon("file"), h("bdi", { title: oneLine(uri ?? "", 500) }, shown));
    return h(
        "p.attachment",
        icon("globe"),
        h("a", { href: safe, target: "_blank", rel: "noopener noreferrer nofollow" }, shown),
    );
}

/** @param {Foreign} resource */
function resource({ uri, text, mimeType, blob }) {
    if (typeof text !== "string" && !(text instanceof Elsewhere)) return attachment(oneLine(uri ?? "resource"), mimeType, blob);
    return h(
        "details.resource",
        h("summary", icon("file"), h("bdi", oneLine(uri ?? "resource", 300))),
        plain(text, oneLine(uri ?? "resource")),
    );
}
