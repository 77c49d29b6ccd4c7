/** What has happened to a project, in words. */

import { entryOf } from "../table.js";
import { oneLine } from "../text/plain.js";

/** @import { LogEvent } from "../types.js" */

/** What is called otherwise than its name says. */
const SETTINGS = {
    acpUrl: "ACP address",
    containerToken: "container's secret",
    containerUrl: "address",
    defaultAgentId: "default agent",
    opencodePassword: "password of OpenCode",
    opencodeUsername: "user name of OpenCode",
    ownerId: "owner",
    permissionMode: "permissions",
    permissionRules: "permission rules",
    permissionTimeout: "time to answer",
    recordOpencodeEvents: "recording of OpenCode",
};

/**
 * The sentence of an event about a project; null where it says nothing that is shown.
 *
 * @param {LogEvent} event
 */
export function sentenceForNews(event) {
    switch (event.type) {
        case "project_changed": {
            const { changed, settings, changedBy } = event.data;
            const changes = changed.map((name) => change(name, settings[name]));
            return `${oneLine(changedBy, 80)} changed the project: ${changes.join(", ")}`;
        }
        case "member_added":
            return `${oneLine(event.data.addedBy, 80)} added ${oneLine(event.data.userId, 80)} as ${event.data.role}`;
        case "member_role_changed":
            return `${oneLine(event.data.changedBy, 80)} made ${oneLine(event.data.userId, 80)} ${event.data.role}`;
        case "member_removed": {
            const { userId, removedBy } = event.data;
            if (userId === removedBy) return `${oneLine(userId, 80)} left the project`;
            return `${oneLine(removedBy, 80)} removed ${oneLine(userId, 80)}`;
        }
        default:
            return null;
    }
}

/**
 * @param {string} name
 * @param {unknown} value
 */
function change(name, value) {
    const word = entryOf(SETTINGS, name) ?? name;
    return typeof value === "string" ? `${word} ${oneLine(value, 80)}` : word;
}
