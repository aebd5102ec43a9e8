-- Processes: whenever a call is cancelled, nothing that was said is lost, and nothing that was started stays.
local asyncio = require "asyncio"

local TEXT = ("a line of text\n"):rep(6000) -- more than a pipe holds

local function pipes(...) return asyncio.create_subprocess_exec(..., { stdin = "pipe", stdout = "pipe" }) end

return {
  { "Process:communicate", "real", function()
    local process = pipes "cat"
    return function() assert(process:communicate(TEXT) == TEXT) end, function()
      local _ <close> = process
      local begun = process:_state().out ~= nil
      local out = process:communicate(not begun and not process.stdin:is_closing() and TEXT or nil)
      assert(out == TEXT, "output was lost")
      assert(process:wait() == 0)
    end
  end },

  { "Process:wait", "real", function(c)
    local process = pipes "cat"
    local closer = asyncio.create_task(function()
      c.pass()
      process.stdin:close()
    end)
    return function() assert(process:wait() == 0) end, function()
      asyncio.await(closer)
      assert(process:wait() == 0 and process:returncode() == 0)
      process:_close_pipes()
    end
  end },

  { "Process <close>", "real", function()
    local process
    return function()
      local p <close> = asyncio.create_subprocess_exec("sleep", 60, { process_group = 0 })
      process = p
    end, function()
      if process then assert(process:returncode() == -15 or process:returncode() == -9, "it was not ended") end
    end
  end },

  { "run_process", "real", function()
    local result
    return function()
      result = asyncio.run_process({ "cat" }, { input = TEXT, capture = true })
    end, function()
      if result then assert(result.returncode == 0 and result.stdout == TEXT and result.stderr == "") end
    end
  end },

  { "create_subprocess_exec", "real", function() -- waits for what was written to the stream that it gives
    local first, second = pipes "cat", nil
    return function()
      first.stdin:write(TEXT)
      second = asyncio.create_subprocess_exec("echo", "last", { stdout = first.stdin })
      second:wait()
    end, function()
      local _ <close> = first
      first.stdin:close()
      local out = first:communicate()
      assert(out == (second and TEXT .. "last\n" or out), "output was lost")
      if second then assert(second:wait() == 0) end
    end
  end },
}
