// The console's diff, for tests: `node diff.mjs`
//
// A line in: [oldText, newText]. A line out: what is shown, as [sign, text] of each line.
import { createInterface } from "node:readline";

import { diffLines } from "../../gateway/web/console/text/diff.js";

const SIGNS = { same: " ", del: "-", ins: "+" };

for await (const line of createInterface({ input: process.stdin })) {
    const shown = diffLines(...JSON.parse(line)).map(({ kind, text }) => [SIGNS[kind], text]);
    console.log(JSON.stringify(shown));
}
