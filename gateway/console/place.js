/** Which project and session the page's address names: `#/project/session`, `#/project/new`, `#/project`, or none. */

const NEW = "new";

/** A page of the project `projectId`; of a session of it, with `sessionId`. */
export function addressOf(projectId, sessionId = null) {
    return `#/${[projectId, sessionId].filter(Boolean).map(encodeURIComponent).join("/")}`;
}

/** The page of the project `projectId` on which a session is begun. */
export function addressOfNew(projectId) {
    return addressOf(projectId, NEW);
}

/** What an address names; `isList` where it is no more than a project, so that a small screen shows its lists. */
export function placeOf(hash) {
    const [projectId = null, sessionId = null] = hash.slice(2).split("/").filter(Boolean).map(decoded);
    return { projectId, sessionId: sessionId === NEW ? null : sessionId, isList: sessionId === null };
}

/** A part of an address, as it is where nobody has encoded it. */
function decoded(part) {
    try {
        return decodeURIComponent(part);
    } catch {
        return part;
    }
}
