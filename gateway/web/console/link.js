/** The link that the gateway printed: what is behind its # signs this browser in, once. */

const BEGINS = "#sign-in=";

export function isLink() {
    return location.hash.startsWith(BEGINS);
}

/** What the link holds, which is in no address and no history from now on; null where there is none. */
export function takeLink() {
    if (!isLink()) return null;
    const link = location.hash.slice(BEGINS.length);
    history.replaceState(null, "", location.pathname + location.search);
    return link;
}
