/** ACP content blocks, whatever is in them. */

import { h } from "../dom.js";
import { icon } from "../icons.js";
import { isObject } from "../model/updates.js";
import { safeAddress } from "../text/markdown.js";
import { oneLine, output, pretty } from "../text/plain.js";
import { diffView, isDiff } from "./diff.js";

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
            return isDiff(entry) ? diffView(entry) : json("Content", entry);
        case "terminal":
            return null; // what it said comes as the call's output
        default:
            return json("Content", entry);
    }
}

/**
 * Text in a box of its own, with the rest of a long one on demand.
 *
 * @param {unknown} text
 * @param {string} label
 */
export function plain(text, label = "Text") {
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
 */
export function json(label, value) {
    return plain(pretty(value), label);
}

/** @param {ContentBlock} block */
function picture({ data, mimeType }) {
    if (!PICTURES.has(mimeType) || typeof data !== "string") return attachment("picture", mimeType, data);
    return h("img.picture", { src: `data:${mimeType};base64,${data}`, alt: "Picture from the session" });
}

/**
 * @param {string} what
 * @param {unknown} mimeType
 * @param {unknown} data
 */
function attachment(what, mimeType, data) {
    const size = typeof data === "string" ? `, ${Math.round((data.length * 3) / 4).toLocaleString()} bytes` : "";
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
    if (typeof text !== "string") return attachment(oneLine(uri ?? "resource"), mimeType, blob);
    return h(
        "details.resource",
        h("summary", icon("file"), h("bdi", oneLine(uri ?? "resource", 300))),
        plain(text, oneLine(uri ?? "resource")),
    );
}
