/** What this browser remembers; nothing where it may not. */

const PREFIX = "acp-gateway.";

/** `where`: in this browser, or with `sessionStorage` in this tab, until it is closed. */
export function remembered(name, where = "localStorage") {
    try {
        return window[where].getItem(PREFIX + name);
    } catch {
        return null;
    }
}

/** Remember, or forget with null or nothing. */
export function remember(name, value, where = "localStorage") {
    try {
        if (value) window[where].setItem(PREFIX + name, value);
        else window[where].removeItem(PREFIX + name);
    } catch {
        // It is full, or forbidden: then it lasts as long as the page.
    }
}
