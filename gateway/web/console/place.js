/** Which project and session the page's address names: `#/project/session`, `#/project/new`, `#/project`, or none. */

const NEW = "new";

/**
 * A page of the project `projectId`; of a session of it, with `sessionId`.
 *
 * @param {string} projectId
 * @param {string | null} sessionId
 */
export function addressOf(projectId, sessionId = null) {
    const parts = sessionId ? [projectId, sessionId] : [projectId];
    return `#/${parts.map(encodeURIComponent).join("/")}`;
}

/**
 * The page of the project `projectId` on which a session is begun.
 *
 * @param {string} projectId
 */
export function addressOfNew(projectId) {
    return addressOf(projectId, NEW);
}

/**
 * What an address names; `isList` where it is no more than a project, so that a small screen shows its lists.
 *
 * @param {string} hash
 */
export function placeOf(hash) {
    const [projectId = null, sessionId = null] = hash.slice(2).split("/").filter(Boolean).map(decoded);
    return { projectId, sessionId: sessionId === NEW ? null : sessionId, isList: sessionId === null };
}

/**
 * A part of an address, as it is where nobody has encoded it.
 *
 * @param {string} part
 */
function decoded(part) {
    try {
        return decodeURIComponent(part);
    } catch {
        return part;
    }
}
