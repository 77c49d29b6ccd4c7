/** What this browser remembers; nothing where it may not. */

const PREFIX = "acp-gateway.";

export function remembered(name) {
    try {
        return localStorage.getItem(PREFIX + name);
    } catch {
        return null;
    }
}

/** Remember, or forget with null or nothing. */
export function remember(name, value) {
    try {
        if (value) localStorage.setItem(PREFIX + name, value);
        else localStorage.removeItem(PREFIX + name);
    } catch {
        // It is full, or forbidden: then it lasts as long as the page.
    }
}
