/** ACP content blocks, whatever is in them. */

import { h } from "../dom.js";
import { icon } from "../icons.js";
import { safeAddress } from "../text/markdown.js";
import { honest, oneLine, output, pretty } from "../text/plain.js";
import { diffView } from "./diff.js";

const PICTURES = new Set(["image/png", "image/jpeg", "image/gif", "image/webp"]);
const MOST_CHARACTERS = 20_000;

/** A block that is no text of a message. */
export function blockView(block) {
    switch (block?.type) {
        case "text":
            return plain(block.text);
        case "image":
            return picture(block);
        case "resource_link":
            return reference(block.title || block.name || block.uri, block.uri);
        case "resource":
            return resource(block.resource ?? {});
        case "audio":
            return attachment("sound", block.mimeType, block.data);
        default:
            return json("Content", block);
    }
}

/** What a tool call holds: content, a diff, a terminal. */
export function toolContentView(entry) {
    switch (entry?.type) {
        case "content":
            return blockView(entry.content);
        case "diff":
            return diffView(entry);
        case "terminal":
            return null; // what it said comes as the call's output
        default:
            return json("Content", entry);
    }
}

/** Text in a box of its own, with the rest of a long one on demand. */
export function plain(text, label = "Text") {
    const all = output(text ?? "");
    const code = h("code", all.slice(0, MOST_CHARACTERS));
    const box = h("pre.output", { tabindex: 0, role: "group", "aria-label": label, dir: "ltr" }, code);
    if (all.length <= MOST_CHARACTERS) return box;
    const rest = all.length - MOST_CHARACTERS;
    const more = h(
        "button.quiet",
        { type: "button", on: { click: () => (code.append(all.slice(MOST_CHARACTERS)), more.remove()) } },
        `Show ${rest.toLocaleString()} more characters`,
    );
    return h("div", box, more);
}

export function json(label, value) {
    return plain(pretty(value), label);
}

function picture({ data, mimeType }) {
    if (!PICTURES.has(mimeType) || typeof data !== "string") return attachment("picture", mimeType, data);
    return h("img.picture", { src: `data:${mimeType};base64,${data}`, alt: "Picture from the session" });
}

function attachment(what, mimeType, data) {
    const size = typeof data === "string" ? `, ${Math.round((data.length * 3) / 4).toLocaleString()} bytes` : "";
    return h("p.attachment", icon("file"), oneLine(`${what} (${mimeType ?? "of unknown type"}${size})`));
}

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

function resource({ uri, text, mimeType, blob }) {
    if (typeof text !== "string") return attachment(oneLine(uri ?? "resource"), mimeType, blob);
    return h(
        "details.resource",
        h("summary", icon("file"), h("bdi", oneLine(uri ?? "resource", 300))),
        plain(text, honest(uri ?? "resource")),
    );
}
