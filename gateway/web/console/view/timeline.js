/** The picture of a turn, and the same as a table. */

import { h, s } from "../dom.js";
import { timeline } from "../model/timeline.js";
import { oneLine } from "../text/plain.js";
import { duration } from "../text/times.js";

/** @import { Lane, TurnRecord } from "../model/timeline.js" */

const WIDTH = 640;
const LANE = 22;
const GAP = 8;
const LEAST = 2;

/**
 * @param {TurnRecord} record
 * @param {boolean} isWhole
 */
export function timelineView(record, isWhole) {
    const { length, lanes } = timeline(record, Date.now());
    /** @param {number} value */
    const scale = (value) => (length ? (value / length) * WIDTH : 0);
    const height = lanes.length * (LANE + GAP);
    const picture = s(
        "svg.timeline",
        {
            viewBox: `0 0 ${WIDTH} ${height}`,
            preserveAspectRatio: "none",
            role: "img",
            "aria-label": summary(length, lanes),
        },
        lanes.map((lane, index) => laneView(lane, index * (LANE + GAP), scale)),
    );
    return h(
        "figure.timeline-figure",
        h("div.timeline-body", h("div.timeline-labels", { "aria-hidden": "true" }, lanes.map(label)), picture),
        h("div.timeline-scale", { "aria-hidden": "true" }, h("span", "0 s"), h("span", duration(length))),
        isWhole
            ? null
            : h(
                  "p.about",
                  "Of this turn only the beginnings and ends of its tool calls are known here, not what waited for an answer.",
              ),
        h("details", h("summary", "As a table"), table(lanes)),
    );
}

/**
 * @param {Lane} lane
 * @param {number} y
 * @param {(milliseconds: number) => number} scale
 */
function laneView({ who, spans, marks }, y, scale) {
    return s(
        `g.lane.${who}`,
        s("rect.track", { x: 0, y, width: WIDTH, height: LANE, rx: 3 }),
        spans.map(({ from, to }) =>
            s("rect.span", { x: scale(from), y, width: Math.max(LEAST, scale(to - from)), height: LANE, rx: 2 }),
        ),
        marks.map(({ from, to }) =>
            s("rect.mark", { x: scale(from), y: y + LANE - 6, width: Math.max(LEAST, scale(to - from)), height: 6 }),
        ),
    );
}

/** @param {Lane} lane */
function label({ label: name, total }) {
    return h("div.timeline-label", h("span", name), h("span.about", duration(total)));
}

/**
 * @param {number} length
 * @param {Lane[]} lanes
 */
function summary(length, lanes) {
    return `${duration(length)} in all. ${lanes.map(({ label: name, total }) => `${name}: ${duration(total)}`).join(", ")}.`;
}

/** @param {Lane[]} lanes */
function table(lanes) {
    const rows = lanes
        .flatMap(({ label: name, spans }) => spans.map((span) => ({ name, ...span })))
        .sort((a, b) => a.from - b.from)
        .map(({ name, what, from, to }) =>
            h(
                "tr",
                h("th", { scope: "row" }, name),
                h("td", h("bdi", oneLine(what, 120))),
                h("td.number", duration(from)),
                h("td.number", duration(to - from)),
            ),
        );
    const head = h("tr", ...["Who", "What", "From", "For"].map((title) => h("th", { scope: "col" }, title)));
    return h(
        "div.table-scroll",
        { tabindex: 0, role: "group", "aria-label": "Timeline as a table" },
        h(
            "table",
            h("caption.unseen", "Who was waited for, when and for how long"),
            h("thead", head),
            h("tbody", rows),
        ),
    );
}
