/** Light or dark, as the system or its user says; a classic script, so that it is done before anything is shown. */
(() => {
    const KEY = "acp-gateway.theme";
    const read = () => {
        try {
            return localStorage.getItem(KEY);
        } catch {
            return null;
        }
    };
    const theme = read();
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
})();
