/** Text of an agent's, made so that it looks like what it is. */

// eslint-disable-next-line no-control-regex
const ANSI = /\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[PX^_][^\x1b]*(?:\x1b\\)?|[@-Z\\-_])/g;
/** Controls other than tab and line ends; what turns the direction of text around; what is there and not seen. */
const DECEPTIVE =
    // eslint-disable-next-line no-control-regex
    /[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u180e\u200b\u2028\u2029\u202a-\u202e\u2060-\u2069\ufeff]/g;

/**
 * Without a terminal's sequences, which mean nothing outside of one.
 *
 * @param {string} text
 */
export function withoutAnsi(text) {
    return text.includes("\x1b") ? text.replace(ANSI, "") : text;
}

/** Names of characters that are shown in one text: a browser takes seconds for ten thousand of them. */
const MOST_NAMES = 500;

/**
 * With a name in the place of each character that would deceive: a file's name must not read as another's.
 *
 * @param {string} text
 */
export function honest(text) {
    if ((text.match(DECEPTIVE)?.length ?? 0) > MOST_NAMES) return text.replace(DECEPTIVE, "\ufffd");
    return text.replace(DECEPTIVE, (character) => {
        const code = character.charCodeAt(0);
        if (code < 0x20) return String.fromCodePoint(0x2400 + code);
        return `⟨U+${code.toString(16).toUpperCase().padStart(4, "0")}⟩`;
    });
}

/**
 * For a place that has one line.
 *
 * @param {unknown} value
 * @param {number} most
 */
export function oneLine(value, most = 300) {
    const line = honest(textIn(value)).replace(/\s+/g, " ").trim();
    return line.length > most ? `${line.slice(0, most)}…` : line;
}

/**
 * What a command said, with the last state of each line that it rewrote (a progress bar, say).
 *
 * @param {unknown} value
 */
export function output(value) {
    const lines = withoutAnsi(textIn(value)).replace(/\r\n/g, "\n").split("\n");
    return honest(
        lines.map((line) => line.slice(line.lastIndexOf("\r", line.length - 2) + 1).replace(/\r$/, "")).join("\n"),
    );
}

/**
 * A value of JSON in the place of a text. `String` fails at an object with a `toString` of its own.
 *
 * @param {unknown} value
 */
function textIn(value) {
    return typeof value === "object" && value !== null ? written(value) : String(value);
}

/**
 * @param {unknown} value
 * @param {number} [indent]
 */
function written(value, indent) {
    try {
        return JSON.stringify(value, null, indent) ?? "";
    } catch {
        return "(nested too deeply to be shown)";
    }
}

/**
 * A value of JSON as a person reads it.
 *
 * @param {unknown} value
 */
export function pretty(value) {
    return honest(typeof value === "string" ? value : written(value, 2));
}
