/** What an agent says in a `session_update`, as far as it makes messages: the same rules as in the gateway. */

/** An update with more lists and objects in one another makes no message. */
const MAX_DEPTH = 128;
const TEXT_ROLES = new Map([
    ["agent_message_chunk", "assistant"],
    ["agent_thought_chunk", "thought"],
    ["user_message_chunk", "user"],
]);

/** The update of an event's data; null where there is none, or none that could be shown. */
export function updateOf(data) {
    const update = isObject(data) ? data.update : null;
    return isObject(update) && !isDeeper(data, MAX_DEPTH) ? update : null;
}

/** The role of the message that a chunk belongs to; undefined for an update that is none. */
export function roleOf({ sessionUpdate }) {
    return TEXT_ROLES.get(sessionUpdate);
}

/** The agent's own id of a message. */
export function messageIdOf({ messageId }) {
    return typeof messageId === "string" ? messageId : null;
}

/** A call's id is a text; an agent that has another kind of value there means the same by the same. */
export function toolCallIdOf({ toolCallId = null }) {
    return typeof toolCallId === "string" ? toolCallId : JSON.stringify(toolCallId);
}

/** What an update changes of its tool call. */
export function changesOf({ sessionUpdate, ...told }) {
    return Object.fromEntries(Object.entries(told).filter(([, value]) => value !== null));
}

export function entriesOf({ entries }) {
    return Array.isArray(entries) ? entries : [];
}

/** Content blocks with one more; adjacent text is one block. */
export function appendBlock(content, block) {
    if (!isObject(block)) return;
    const last = content.at(-1);
    if (isPlainText(block) && last && isPlainText(last)) last.text += block.text;
    else content.push({ ...block });
}

/** The content of a prompt. */
export function contentOf(prompt) {
    const content = [];
    for (const block of Array.isArray(prompt) ? prompt : []) appendBlock(content, block);
    return content;
}

/** The text of a message's blocks, for copying. */
export function textOf(content) {
    return content.map((block) => (block.type === "text" ? block.text : "")).join("");
}

function isPlainText(block) {
    return block.type === "text" && typeof block.text === "string" && Object.keys(block).length === 2;
}

function isObject(value) {
    return value !== null && typeof value === "object" && !Array.isArray(value);
}

/** Whether `value` has more than `depth` lists and objects in one another. */
function isDeeper(value, depth) {
    if (value === null || typeof value !== "object") return false;
    return depth === 0 || Object.values(value).some((inner) => isDeeper(inner, depth - 1));
}
