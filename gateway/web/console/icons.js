/** Icons: strokes in a square of 16, in the colour of the text around them. They say nothing to a screen reader. */

import { s } from "./dom.js";

/** @typedef {keyof typeof STROKES} IconName */

const STROKES = {
    plus: "M8 3v10M3 8h10",
    back: "M10 3 5 8l5 5",
    chevron: "m4 6 4 4 4-4",
    send: "M8 13V3M4 7l4-4 4 4",
    stop: "M4.5 4.5h7v7h-7z",
    play: "M5 3.5v9l7-4.5z",
    cross: "m4 4 8 8M12 4l-8 8",
    check: "m3 8.5 3.5 3.5L13 5",
    copy: "M6 6h7v7H6zM3 10V3h7",
    pencil: "m3 13 .6-2.8L10.5 3.3l2.2 2.2-6.9 6.9z",
    key: "M9.2 6.8a2.9 2.9 0 1 1 0-.01M9 7l4.5 4.5M11.5 9.5 10 11",
    clock: "M8 2.5a5.5 5.5 0 1 1 0 11 5.5 5.5 0 0 1 0-11M8 5v3.2l2 1.3",
    download: "M8 3v7M5 7.5 8 10.5l3-3M3.5 13h9",
    warning: "M8 2.8 14 13H2zM8 6.5v3M8 11.2v.1",
    question: "M5.8 6.2a2.2 2.2 0 1 1 3 2.1c-.6.3-.8.6-.8 1.4M8 12v.1",
    bulb: "M6 11.5h4M6.5 13.5h3M5.2 8.6a3.6 3.6 0 1 1 5.6 0c-.5.6-.8 1-.8 1.6H6c0-.6-.3-1-.8-1.6",
    list: "M6 4h7M6 8h7M6 12h7M3 4h.1M3 8h.1M3 12h.1",
    tool: "M9.6 6.4a3.2 3.2 0 0 0 3.9-3.9L11.6 4.4 9.9 2.7l1-1a3.2 3.2 0 0 0-4 4L2.5 10.1a1.6 1.6 0 1 0 2.3 2.3z",
    file: "M4 2.5h5l3 3v8H4zM9 2.5v3h3",
    terminal: "m3 5 3 3-3 3M8 11.5h5",
    search: "M7 3a4 4 0 1 1 0 8 4 4 0 0 1 0-8M10 10l3.5 3.5",
    globe: "M8 2.5a5.5 5.5 0 1 1 0 11 5.5 5.5 0 0 1 0-11M2.5 8h11M8 2.5c3.2 3.5 3.2 7.5 0 11c-3.2-3.5-3.2-7.5 0-11",
    trash: "M3 4.5h10M6 4.5V3h4v1.5M4.5 4.5l.6 8.5h5.8l.6-8.5",
    sun: "M8 5a3 3 0 1 1 0 6 3 3 0 0 1 0-6M8 1.5v1M8 13.5v1M1.5 8h1M13.5 8h1M3.4 3.4l.7.7M11.9 11.9l.7.7M12.6 3.4l-.7.7M4.1 11.9l-.7.7",
    moon: "M13 9.5A5.5 5.5 0 0 1 6.5 3 5.5 5.5 0 1 0 13 9.5",
    half: "M8 2.5a5.5 5.5 0 1 1 0 11zM8 2.5a5.5 5.5 0 0 0 0 11",
};

/** @param {IconName} name */
export function icon(name) {
    return s(
        "svg.icon",
        { viewBox: "0 0 16 16", width: 16, height: 16, "aria-hidden": "true", focusable: "false" },
        s("path", { d: STROKES[name] }),
    );
}
