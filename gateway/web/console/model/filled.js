/** What a gap lost and the agent's own history had, as its events tell: the same rules as in the gateway. */

import { appendBlock, changesOf, messageIdOf, roleOf } from "./updates.js";

/** @import { Filled, Update } from "../types.js" */

/**
 * What of a gap an update is; null if it changes another message, or none.
 *
 * @param {Update} update
 */
function roleInGap(update) {
    if (update.sessionUpdate === "tool_call") return "tool";
    const role = roleOf(update);
    return role === undefined || role === "user" ? null : role;
}

/**
 * Whether an update stands in its gap, and not in the message that it changes.
 *
 * @param {Update} update
 */
export function isInGap(update) {
    return roleInGap(update) !== null;
}

/**
 * What is filled in, with the next update.
 *
 * @param {Filled[]} filled
 * @param {Update} update
 * @returns {Filled[]}
 */
export function filledWith(filled, update) {
    const role = roleInGap(update);
    if (role === null) return filled;
    if (role === "tool") return [...filled, { role, toolCall: changesOf(update) }];
    const messageId = messageIdOf(update);
    const last = filled.at(-1);
    const goesOn = last && last.role === role && (last.messageId ?? null) === messageId;
    const content = goesOn ? last.content.map((block) => ({ ...block })) : [];
    appendBlock(content, update.content);
    const named = messageId === null ? {} : { messageId };
    return [...(goesOn ? filled.slice(0, -1) : filled), { role, ...named, content }];
}
