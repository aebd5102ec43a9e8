--- The REPL, as a module to require: `lua -l asyncio.repl`. Requiring it starts the REPL, and leaving
-- the REPL ends the process, as with `lua`.
-- @module asyncio.repl
require "asyncio.console".run()
os.exit(true, true)
