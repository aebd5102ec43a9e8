-- The pictures in doc/pictures: they are what our tools draw, timelines of the lecture's programs among them, and each
-- is shown. (Charts are docs_spec's.)
local t = require "helper"

TestPictures = {}

local ROOT = arg[0]:match "^(.*)/spec/[^/]*$" or "."
local LUA = os.getenv "LUA" or "lua5.4"

local function read(path)
  local file <close> = assert(io.open(path))
  return file:read "a"
end

local function lines_of(command, ...)
  local lines = {}
  local pipe <close> = assert(io.popen(command:format(...)))
  for line in pipe:lines() do lines[#lines + 1] = line end
  return lines
end

if not io.open(ROOT .. "/tools/pictures.lua") then -- the rock comes without
  function TestPictures:test_are_in_the_repository() t.skip "tools are not here" end
  t.finish()
end

function TestPictures:test_are_what_the_tool_draws()
  local folder = os.tmpname()
  os.remove(folder)
  local draw = "exec 2>&1; mkdir '%s' && cd '%s' && %s tools/pictures.lua '%s' virtual && %s tools/diagrams.lua '%s'"
  local said = lines_of(draw, folder, ROOT, LUA, folder, LUA, folder)
  t.assertEquals(said, {})
  local names = lines_of("ls '%s'", folder)
  t.assertTrue(#names >= 10, #names)
  for _, name in ipairs(names) do
    t.assertEquals(read(folder .. "/" .. name), read(ROOT .. "/doc/pictures/" .. name),
      name .. " is not what `make pictures` draws")
  end
  os.execute(("rm -r '%s'"):format(folder))
end

function TestPictures:test_are_shown_somewhere()
  local shown = {}
  for _, page in ipairs(lines_of("ls '%s'/*.md '%s'/doc/*.md '%s'/examples/*/*.md", ROOT, ROOT, ROOT)) do
    for name in read(page):gmatch "/?pictures/([%w_]+%.svg)%)" do shown[name] = true end
  end
  local drawn = {}
  for _, name in ipairs(lines_of("ls '%s/doc/pictures'", ROOT)) do drawn[name] = true end
  t.assertEquals(drawn, shown)
end

function TestPictures:test_say_what_they_are_to_whoever_cannot_see_them()
  for _, page in ipairs(lines_of("ls '%s'/*.md '%s'/doc/*.md '%s'/examples/*/*.md", ROOT, ROOT, ROOT)) do
    for alt in read(page):gmatch "!%[([^%]]*)%]%([%w_./]*pictures/" do t.assertTrue(#alt > 20, page .. ": " .. alt) end
  end
end

function TestPictures:test_are_one_file_each_in_the_light_and_in_the_dark()
  for _, name in ipairs(lines_of("ls '%s'/doc/pictures/*.svg", ROOT)) do
    local text = read(name)
    t.assertStrMatches(text, "<svg .*</svg>\n")
    t.assertStrContains(text, "prefers-color-scheme: dark")
    t.assertStrMatches(text, ".*<title>[^<]+</title>.*")
    t.assertNil(text:find "href" or text:find "url%(" or text:find "@import" or text:find "<script")
  end
end

t.leave_out(TestPictures, ".") -- the programs are lecture_spec's there
t.finish()
