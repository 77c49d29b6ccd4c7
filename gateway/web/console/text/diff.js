/** Which lines two texts share: Myers' algorithm, with a limit on how much they may differ. */

/** @typedef {{ kind: "same" | "del" | "ins", text: string }} Edit */
/** @typedef {Edit & { old: number | null, new: number | null }} DiffLine Its numbers, from 1. */
/** @typedef {{ kind: "fold", count: number }} Fold */
/** @typedef {Map<number, number>} Furthest By diagonal, how far in the old text. */

const MOST_EDITS = 1000;
const CONTEXT = 3;
const BARE_LINE_FEED = /(?<!\r)\n/;
/** A carriage return that people can see. */
const RETURN = "\u240d";
const UNENDED = "\n\\ No newline at end of file";

/**
 * The lines of both texts in order. A line feed ends one, as in git; ends are shown where they differ.
 *
 * @param {string} oldText
 * @param {string} newText
 */
export function diffLines(oldText, newText) {
    const showsReturns = BARE_LINE_FEED.test(oldText) || BARE_LINE_FEED.test(newText);
    const before = lines(oldText, showsReturns);
    const after = lines(newText, showsReturns);
    if (before.isEnded !== after.isEnded && before.texts.length && after.texts.length) {
        const unended = before.isEnded ? after.texts : before.texts;
        unended.push((unended.pop() ?? "") + UNENDED);
    }
    return compared(before.texts, after.texts);
}

/**
 * @param {string[]} before
 * @param {string[]} after
 */
function compared(before, after) {
    let head = 0;
    while (head < before.length && head < after.length && before[head] === after[head]) head += 1;
    let tail = 0;
    while (
        tail < before.length - head &&
        tail < after.length - head &&
        before[before.length - 1 - tail] === after[after.length - 1 - tail]
    ) {
        tail += 1;
    }
    const middle = edits(before.slice(head, before.length - tail), after.slice(head, after.length - tail));
    return numbered([
        ...edit("same", before.slice(0, head)),
        ...middle,
        ...edit("same", before.slice(before.length - tail)),
    ]);
}

/**
 * Only what is near a change; what is left out in between is a fold.
 *
 * @param {DiffLine[]} diff
 */
export function folded(diff) {
    const near = new Uint8Array(diff.length);
    diff.forEach(({ kind }, index) => {
        if (kind === "same") return;
        near.fill(1, Math.max(0, index - CONTEXT), index + CONTEXT + 1);
    });
    /** @type {(DiffLine | Fold)[]} */
    const shown = [];
    diff.forEach((line, index) => {
        const last = shown.at(-1);
        if (near[index]) shown.push(line);
        else if (last?.kind === "fold") last.count += 1;
        else shown.push({ kind: "fold", count: 1 });
    });
    return shown;
}

/**
 * @param {string} text
 * @param {boolean} showsReturns
 */
function lines(text, showsReturns) {
    const shown = showsReturns ? text : text.replaceAll("\r\n", "\n");
    const texts = shown.replaceAll("\r", RETURN).split("\n");
    const isEnded = texts.at(-1) === "";
    if (isEnded) texts.pop();
    return { texts, isEnded };
}

/**
 * @param {Edit["kind"]} kind
 * @param {string[]} texts
 * @returns {Edit[]}
 */
function edit(kind, texts) {
    return texts.map((text) => ({ kind, text }));
}

/**
 * @param {Edit[]} diff
 * @returns {DiffLine[]}
 */
function numbered(diff) {
    let [before, after] = [0, 0];
    return diff.map(({ kind, text }) => {
        if (kind !== "ins") before += 1;
        if (kind !== "del") after += 1;
        return { kind, text, old: kind === "ins" ? null : before, new: kind === "del" ? null : after };
    });
}

/**
 * @param {string[]} before
 * @param {string[]} after
 */
function edits(before, after) {
    const trace = search(before, after);
    return trace === null ? [...edit("del", before), ...edit("ins", after)] : walkBack(before, after, trace);
}

/**
 * The furthest places that each number of edits reaches, on each diagonal; null where there are too many edits.
 *
 * @param {string[]} before
 * @param {string[]} after
 */
function search(before, after) {
    const most = Math.min(before.length + after.length, MOST_EDITS);
    /** @type {Furthest} */
    const furthest = new Map([[1, 0]]);
    const trace = [];
    for (let count = 0; count <= most; count += 1) {
        trace.push(new Map(furthest));
        for (let diagonal = -count; diagonal <= count; diagonal += 2) {
            const isDown = goesDown(furthest, diagonal, count);
            let x = isDown ? reached(furthest, diagonal + 1) : reached(furthest, diagonal - 1) + 1;
            while (x < before.length && x - diagonal < after.length && before[x] === after[x - diagonal]) x += 1;
            furthest.set(diagonal, x);
            if (x >= before.length && x - diagonal >= after.length) return trace;
        }
    }
    return null;
}

/**
 * @param {Furthest} furthest
 * @param {number} diagonal
 */
function reached(furthest, diagonal) {
    return furthest.get(diagonal) ?? 0;
}

/**
 * @param {Furthest} furthest
 * @param {number} diagonal
 * @param {number} count
 */
function goesDown(furthest, diagonal, count) {
    if (diagonal === -count || diagonal === count) return diagonal === -count;
    return reached(furthest, diagonal - 1) < reached(furthest, diagonal + 1);
}

/**
 * @param {string[]} before
 * @param {string[]} after
 * @param {Furthest[]} trace
 */
function walkBack(before, after, trace) {
    const found = [];
    let [x, y] = [before.length, after.length];
    for (const [count, furthest] of [...trace.entries()].reverse()) {
        const diagonal = x - y;
        const from = goesDown(furthest, diagonal, count) ? diagonal + 1 : diagonal - 1;
        const fromX = reached(furthest, from);
        const fromY = fromX - from;
        while (x > fromX && y > fromY) {
            x -= 1;
            y -= 1;
            found.push(...edit("same", before.slice(x, x + 1)));
        }
        if (count === 0) break;
        if (x === fromX) found.push(...edit("ins", after.slice(y - 1, y)));
        else found.push(...edit("del", before.slice(x - 1, x)));
        [x, y] = [fromX, fromY];
    }
    return found.reverse();
}
