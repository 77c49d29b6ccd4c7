import js from "@eslint/js";
import globals from "globals";

/** Properties of `window` that a forgotten declaration would read without an error. */
const TREACHEROUS = ["close", "event", "find", "length", "name", "open", "origin", "parent", "print", "self", "status"];

export default [
    { ignores: ["gateway/web/console/vendor/**"] },
    js.configs.recommended,
    {
        linterOptions: { reportUnusedDisableDirectives: "error" },
        rules: {
            "array-callback-return": "error",
            "no-alert": "error",
            "no-constructor-return": "error",
            "no-eval": "error",
            "no-implied-eval": "error",
            "no-new-func": "error",
            "no-param-reassign": "error",
            "no-restricted-globals": ["error", ...TREACHEROUS],
            "no-script-url": "error",
            "no-self-compare": "error",
            "no-shadow": "error",
            "no-template-curly-in-string": "error",
            "no-throw-literal": "error",
            "no-unreachable-loop": "error",
            "no-unused-vars": ["error", { ignoreRestSiblings: true }],
            "no-var": "error",
            "object-shorthand": "error",
            "prefer-const": "error",
            "prefer-template": "error",
            eqeqeq: "error",
        },
    },
    { files: ["gateway/web/console/**/*.js"], languageOptions: { globals: globals.browser }, rules: { "no-console": "error" } },
    { files: ["gateway/web/console/theme.js"], languageOptions: { sourceType: "script" } },
    { files: ["tests/**"], languageOptions: { globals: globals.node } },
];
