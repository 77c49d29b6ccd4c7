/** What an agent says in a `session_update`, as far as it makes messages: the same rules as in the gateway. */

/** @import { ContentBlock, Foreign, TextRole, ToolCall, Update } from "../types.js" */

/** An update with more lists and objects in one another makes no message. */
const MAX_DEPTH = 128;
/** @type {Map<unknown, TextRole>} */
const TEXT_ROLES = new Map([
    ["agent_message_chunk", "assistant"],
    ["agent_thought_chunk", "thought"],
    ["user_message_chunk", "user"],
]);

/**
 * The update of an event's data; null where there is none, or none that could be shown.
 *
 * @param {unknown} data
 * @returns {Update | null}
 */
export function updateOf(data) {
    const update = isObject(data) ? data.update : null;
    return isObject(update) && !isDeeper(data, MAX_DEPTH) ? update : null;
}

/**
 * The role of the message that a chunk belongs to; undefined for an update that is none.
 *
 * @param {Update} update
 */
export function roleOf({ sessionUpdate }) {
    return TEXT_ROLES.get(sessionUpdate);
}

/**
 * The agent's own id of a message.
 *
 * @param {Update} update
 */
export function messageIdOf({ messageId }) {
    return typeof messageId === "string" ? messageId : null;
}

/**
 * A call's id is a text; an agent that has another kind of value there means the same by the same.
 *
 * @param {ToolCall} call
 */
export function toolCallIdOf({ toolCallId = null }) {
    return typeof toolCallId === "string" ? toolCallId : JSON.stringify(toolCallId);
}

/**
 * What an update changes of its tool call.
 *
 * @param {Update} update
 * @returns {ToolCall}
 */
export function changesOf({ sessionUpdate, ...told }) {
    return Object.fromEntries(Object.entries(told).filter(([, value]) => value !== null));
}

/**
 * @param {Update} update
 * @returns {unknown[]}
 */
export function entriesOf({ entries }) {
    return Array.isArray(entries) ? entries : [];
}

/**
 * Content blocks with one more; adjacent text is one block.
 *
 * @param {ContentBlock[]} content
 * @param {unknown} block
 */
export function appendBlock(content, block) {
    if (!isObject(block)) return;
    const last = content.at(-1);
    if (isPlainText(block) && last && isPlainText(last)) last.text += block.text;
    else content.push({ ...block });
}

/**
 * The content of a prompt.
 *
 * @param {unknown} prompt
 */
export function contentOf(prompt) {
    /** @type {ContentBlock[]} */
    const content = [];
    for (const block of Array.isArray(prompt) ? prompt : []) appendBlock(content, block);
    return content;
}

/**
 * The text of a message's blocks, for copying.
 *
 * @param {ContentBlock[]} content
 */
export function textOf(content) {
    return content.map((block) => (isText(block) ? block.text : "")).join("");
}

/**
 * @param {ContentBlock} block
 * @returns {block is { type: "text", text: string }}
 */
export function isText(block) {
    return block.type === "text" && typeof block.text === "string";
}

/**
 * Whether a block is text and nothing else, so that it may be joined with another.
 *
 * @param {ContentBlock} block
 * @returns {block is { type: "text", text: string }}
 */
function isPlainText(block) {
    return isText(block) && Object.keys(block).length === 2;
}

/**
 * @param {unknown} value
 * @returns {value is Foreign}
 */
export function isObject(value) {
    return value !== null && typeof value === "object" && !Array.isArray(value);
}

/**
 * Whether `value` has more than `depth` lists and objects in one another.
 *
 * @param {unknown} value
 * @param {number} depth
 * @returns {boolean}
 */
function isDeeper(value, depth) {
    if (value === null || typeof value !== "object") return false;
    return depth === 0 || Object.values(value).some((inner) => isDeeper(inner, depth - 1));
}
