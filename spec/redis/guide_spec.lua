-- The guide of Redis: its pieces of code run, one after the other, with a server, and print what they say.
local t = require "helper"
local program = require "program"
local server = require "redis.server"

TestGuide = {}

--- The pieces, and what each says that it prints.
local function pieces()
  local text, list = program.content(program.examples .. "../doc/redis.md"), {}
  for source in text:gmatch "\n```lua norun\n(.-)\n```" do
    local says = {}
    for line in source:gmatch "%-%-> ([^\n]*)" do says[#says + 1] = line end
    list[#list + 1] = { source = source, says = says }
  end
  return list
end

function TestGuide:test_says_what_happens()
  server.test(function(client, db)
    local all = pieces()
    t.assertTrue(#all >= 9)
    for i, piece in ipairs(all) do
      local printed = {}
      local env = setmetatable({ client = client, url = db.url, asyncio = t.asyncio, print = function(...)
        local words = table.pack(...)
        for k = 1, words.n do words[k] = tostring(words[k]) end
        printed[#printed + 1] = table.concat(words, "  ")
      end }, { __index = _G })
      assert(load(piece.source, ("=piece %d"):format(i), "t", env))()
      t.assertEquals(printed, piece.says)
      if i == 1 then client:del "tea" end
    end
  end)
end

t.finish()
