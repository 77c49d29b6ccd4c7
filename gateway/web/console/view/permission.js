/** A permission request: what the agent wants to do, and the agent's own options. */

import { GatewayProblem } from "../acp-gateway.js";
import { attribute, h, text } from "../dom.js";
import { icon } from "../icons.js";
import { isObject } from "../model/updates.js";
import { entryOf } from "../table.js";
import { oneLine } from "../text/plain.js";
import { duration } from "../text/times.js";
import { json } from "./content.js";
import { complain } from "./notices.js";
import { toolParts } from "./tool.js";

/** @import { AskedPermission, PermissionItem, View, WaitingPermission } from "../types.js" */
/** @import { ToolCall } from "../types.js" */
/** @typedef {{ optionId: unknown, name?: unknown, kind?: unknown }} Option */

/** @type {Record<string, [string, string]>} */
const KINDS = {
    allow_once: ["primary", "allow, this once"],
    allow_always: ["", "allow, from now on"],
    reject_once: ["", "reject, this once"],
    reject_always: ["", "reject, from now on"],
};

/** What the gateway could not store with a request, being too long; see docs/api.md. */
const OMITTED = "acp-gateway/omitted";
/** The mark of a request of which only the beginnings are kept. */
const CUT = "acp-gateway/cut";

/**
 * The line in the transcript, which stays: what was asked, and what became of it.
 *
 * @returns {View<PermissionItem>}
 */
export function permissionView() {
    const outcome = h("span");
    const title = h("bdi");
    const element = h("p.item.note.permission-line", icon("key"), h("span", "Permission: ", title, " — ", outcome));
    /** @param {PermissionItem} item */
    const update = ({ permission, turn }) => {
        text(title, titleOf(permission));
        const open = permission.state === "waiting" && turn.endedAt !== null;
        text(outcome, open ? "taken back" : outcomeOf(permission));
        attribute(element, "data-state", open ? "cancelled" : permission.state);
    };
    return { element, update };
}

/**
 * The card that waits for an answer.
 *
 * @param {WaitingPermission} permission
 * @param {() => string} nameOfAgent
 * @param {boolean} mayAnswer
 * @param {(id: string, optionId: unknown) => Promise<void>} answer
 * @returns {View<WaitingPermission>}
 */
export function permissionCard(permission, nameOfAgent, mayAnswer, answer) {
    const call = callOf(permission);
    const titleId = `asks-${permission.id}`;
    const expires = h("span.expires");
    const agentName = h("bdi");
    const buttons = optionsOf(permission).map((option) => optionButton(option, choose));
    const element = h(
        "article.permission-card",
        { "aria-labelledby": titleId, tabindex: -1, "data-permission": permission.id },
        h(
            "div.card-head",
            icon("key"),
            h("h2", { id: titleId }, agentName, " asks: ", h("bdi", titleOf(permission))),
            call?.kind
                ? h("span.tag", { title: "The kind of tool, as the agent itself says" }, oneLine(call.kind, 30))
                : null,
        ),
        h("div.card-body", details(call)),
        mayAnswer
            ? h("div.card-options", ...buttons, expires)
            : h("p.about", "Your role in this project may not answer."),
    );
    /** @param {Option} option */
    async function choose(option) {
        if (element.hasAttribute("aria-busy")) return;
        element.setAttribute("aria-busy", "true");
        for (const button of buttons) button.setAttribute("aria-disabled", "true");
        try {
            await answer(permission.id, option.optionId);
        } catch (problem) {
            complain(settledBy(problem) ?? "The answer was not taken", problem);
            element.removeAttribute("aria-busy");
            for (const button of buttons) button.removeAttribute("aria-disabled");
        }
    }
    /** @param {WaitingPermission} now */
    const update = ({ expiresAt }) => {
        text(agentName, oneLine(nameOfAgent(), 80));
        const left = expiresAt ? Date.parse(expiresAt) - Date.now() : null;
        text(expires, left === null ? "" : left > 0 ? `Refused by itself in ${duration(left)}` : "Its time is over");
    };
    return { element, update };
}

/**
 * @param {Option} option
 * @param {(option: Option) => void} choose
 */
function optionButton(option, choose) {
    const [style, meaning] = entryOf(KINDS, option.kind) ?? ["", null];
    return h(
        `button${style ? `.${style}` : ""}`,
        {
            type: "button",
            title: meaning,
            "data-kind": oneLine(option.kind ?? "", 30),
            on: { click: () => choose(option) },
        },
        h("bdi", oneLine(option.name ?? option.optionId, 80)),
    );
}

/**
 * An agent may ask in a form that no reader expects: who is asked must see it all the same.
 *
 * @param {ToolCall | null} call
 */
function details(call) {
    const { [OMITTED]: omitted, [CUT]: cut } = isObject(call?._meta) ? call._meta : {};
    const notes = [
        cut === true ? h("p.about", "Too large to be kept as a whole: these are the beginnings of what it says.") : null,
        Array.isArray(omitted)
            ? h("p.about", `Too long to be shown here: ${oneLine(omitted.join(", "), 80)}. The transcript has it.`)
            : null,
    ];
    if (!call || (isEmpty(call.content) && isEmpty(call.rawInput))) return notes;
    try {
        return [...toolParts(call), ...notes];
    } catch {
        return json("What is asked for, and cannot be shown in its form", call);
    }
}

/** @param {unknown} value */
function isEmpty(value) {
    return value === undefined || value === null || (Array.isArray(value) && !value.length);
}

/**
 * @param {{ options: unknown }} permission
 * @returns {Option[]}
 */
function optionsOf({ options }) {
    return (Array.isArray(options) ? options : []).filter((option) => option?.optionId !== undefined);
}

/**
 * The tool call that is asked for; null where it is none.
 *
 * @param {{ toolCall: unknown }} permission
 * @returns {ToolCall | null}
 */
function callOf({ toolCall }) {
    return isObject(toolCall) ? toolCall : null;
}

/** @param {{ toolCall: unknown }} permission */
export function titleOf(permission) {
    const call = callOf(permission);
    return oneLine(call?.title ?? call?.toolCallId ?? "something", 300);
}

/** @param {AskedPermission} permission */
function outcomeOf(permission) {
    const { state, optionId } = permission;
    if (state === "waiting") return "waits for an answer";
    const name = optionsOf(permission).find((option) => option.optionId === optionId)?.name ?? optionId;
    const what = state === "selected" ? oneLine(name ?? "allowed", 80) : "refused";
    return `${what}${by(permission)}`;
}

/** @param {AskedPermission} permission */
function by({ state, resolvedBy, rule }) {
    if (!resolvedBy) return "";
    if (resolvedBy === "rule")
        return isObject(rule) && rule.mode
            ? `, by the project's mode ${oneLine(rule.mode, 40)}`
            : ", by a rule of the project";
    if (resolvedBy === "timeout") return ", as nobody answered in time";
    if (resolvedBy === "container") return ", by the container itself";
    if (resolvedBy === "gateway") return state === "selected" ? ", as the project's rules changed" : ", taken back";
    return `, by ${oneLine(resolvedBy, 80)}`;
}

/**
 * Who was faster; null where the problem is another one.
 *
 * @param {unknown} problem
 */
function settledBy(problem) {
    if (!(problem instanceof GatewayProblem) || problem.code !== "permission_settled") return null;
    const { resolvedBy } = /** @type {{ resolvedBy?: unknown }} */ (problem);
    return `${oneLine(resolvedBy ?? "Somebody", 80)} has answered already`;
}
