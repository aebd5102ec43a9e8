-- sandbox_spec.lua - programs whose host does not give them all of Lua's libraries.
local t = require "helper"

TestSandbox = {}

--- A program that uses something of everything, without the libraries named.
local function run_without(names)
  return t.lua([[
    local print, require, xpcall, collectgarbage = print, require, xpcall, collectgarbage
    for name in ("]] .. names .. [["):gmatch "%w+" do
      _G[name], package.loaded[name] = nil, nil
    end
    local ok, err = xpcall(function()
      local asyncio = require "asyncio"
      print(asyncio.run(function()
        local pool <close> = asyncio.ThreadPoolExecutor(1)
        local group <close> = asyncio.TaskGroup()
        local _ <close> = asyncio.timeout(60)
        group:create_task(asyncio.sleep, 0)
        asyncio.format_call_graph()
        return asyncio.gather(function() return 1 end, function() return asyncio.to_thread(function() return 2 end) end)
      end))
    end, function(message) return message end)
    if not ok then print(err) end
  ]])
end

-- The call graph asked debug.getinfo, `run` asked os.getenv.
function TestSandbox:test_runs_without_debug_os_io_and_utf8()
  local out, err = run_without "debug os io utf8"
  t.assertEquals(out, "1\t2\n", err)
end

function TestSandbox:test_says_which_library_it_cannot_do_without()
  for _, name in ipairs { "coroutine", "math", "table" } do
    local out = run_without(name)
    t.assertStrContains(out, "asyncio needs Lua's library '" .. name .. "'")
  end
end

t.finish()
