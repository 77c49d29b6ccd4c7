/** Where the console begins. */

import { Console } from "./console.js";

new Console().start();
