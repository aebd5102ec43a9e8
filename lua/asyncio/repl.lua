--- The REPL, as a module to require: `lua -l asyncio.repl`. Requiring it starts the REPL, and leaving
-- the REPL ends the process, as with `lua`.
-- Its inputs may await, and what they start goes on while the prompt waits. `asyncio` is a global in it.
-- @module asyncio.repl
-- @usage
-- task = asyncio.create_task(function() asyncio.sleep(1) return "done" end)
-- print(asyncio.await(task)) --> done
require "asyncio.console".run()
os.exit(true, true)
