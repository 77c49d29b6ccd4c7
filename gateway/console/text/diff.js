/** Which lines two texts share: Myers' algorithm, with a limit on how much they may differ. */

const MOST_EDITS = 1000;
const CONTEXT = 3;

/** The lines of both texts in order: `[{ kind: "same" | "del" | "ins", text, old, new }]`, numbered from 1. */
export function diffLines(oldText, newText) {
    const before = lines(oldText);
    const after = lines(newText);
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
        ...before.slice(0, head).map((text) => ({ kind: "same", text })),
        ...middle,
        ...before.slice(before.length - tail).map((text) => ({ kind: "same", text })),
    ]);
}

/** Only what is near a change; what is left out in between is `{ kind: "fold", count }`. */
export function folded(diff) {
    const near = new Uint8Array(diff.length);
    diff.forEach(({ kind }, index) => {
        if (kind === "same") return;
        near.fill(1, Math.max(0, index - CONTEXT), index + CONTEXT + 1);
    });
    const shown = [];
    diff.forEach((line, index) => {
        if (near[index]) shown.push(line);
        else if (shown.at(-1)?.kind === "fold") shown.at(-1).count += 1;
        else shown.push({ kind: "fold", count: 1 });
    });
    return shown;
}

function lines(text) {
    if (!text) return [];
    const all = text.split("\n");
    if (all.at(-1) === "") all.pop();
    return all;
}

function numbered(diff) {
    let [before, after] = [0, 0];
    return diff.map(({ kind, text }) => {
        if (kind !== "ins") before += 1;
        if (kind !== "del") after += 1;
        return { kind, text, old: kind === "ins" ? null : before, new: kind === "del" ? null : after };
    });
}

function edits(before, after) {
    const trace = search(before, after);
    if (trace === null) {
        return [...before.map((text) => ({ kind: "del", text })), ...after.map((text) => ({ kind: "ins", text }))];
    }
    return walkBack(before, after, trace);
}

/** The furthest places that each number of edits reaches, on each diagonal; null where there are too many edits. */
function search(before, after) {
    const most = Math.min(before.length + after.length, MOST_EDITS);
    const furthest = new Map([[1, 0]]);
    const trace = [];
    for (let count = 0; count <= most; count += 1) {
        trace.push(new Map(furthest));
        for (let diagonal = -count; diagonal <= count; diagonal += 2) {
            let x = goesDown(furthest, diagonal, count) ? furthest.get(diagonal + 1) : furthest.get(diagonal - 1) + 1;
            while (x < before.length && x - diagonal < after.length && before[x] === after[x - diagonal]) x += 1;
            furthest.set(diagonal, x);
            if (x >= before.length && x - diagonal >= after.length) return trace;
        }
    }
    return null;
}

function goesDown(furthest, diagonal, count) {
    return diagonal === -count || (diagonal !== count && furthest.get(diagonal - 1) < furthest.get(diagonal + 1));
}

function walkBack(before, after, trace) {
    const found = [];
    let [x, y] = [before.length, after.length];
    for (let count = trace.length - 1; count >= 0; count -= 1) {
        const furthest = trace[count];
        const diagonal = x - y;
        const from = goesDown(furthest, diagonal, count) ? diagonal + 1 : diagonal - 1;
        const fromX = furthest.get(from);
        const fromY = fromX - from;
        while (x > fromX && y > fromY) {
            x -= 1;
            y -= 1;
            found.push({ kind: "same", text: before[x] });
        }
        if (count === 0) break;
        if (x === fromX) found.push({ kind: "ins", text: after[y - 1] });
        else found.push({ kind: "del", text: before[x - 1] });
        [x, y] = [fromX, fromY];
    }
    return found.reverse();
}
