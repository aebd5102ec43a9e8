-- slow: it drives a browser.
-- The manual as a site: every name and every link leads somewhere, nothing runs out of a phone, and the search finds
-- what is there, from a file. And the pieces that it is made with.
local t = require "helper"
local browser = require "browser"
local asyncio = t.asyncio

local ROOT = arg[0]:match "^(.*)/spec/[^/]*$" or "."
TestSite = {}
TestBrowser = {}
TestPieces = {}

if not package.searchpath("house", ROOT .. "/tools/?.lua") then -- the rock comes without
  function TestSite.test_is_in_the_repository() t.skip "tools are not here" end
  t.finish()
end

package.path = ("%s/tools/site/?.lua;%s/tools/?.lua;%s"):format(ROOT, ROOT, package.path)
local colour = require "colour"
local html = require "html"
local markdown = require "markdown"

local function read(path)
  local file <close> = assert(io.open(path))
  return file:read "a"
end

local folder = os.tmpname()
os.remove(folder)
local under_tool = os.getenv "SPEC_TOOL" or os.getenv "SPEC_LUA" or os.getenv "SPEC_GC"
local build = ("LUA='%s' sh '%s/tools/doc' '%s'"):format(os.getenv "LUA" or "lua5.4", ROOT, folder)
local made = not under_tool and os.execute(build)

t.cleaning = setmetatable({}, { __gc = function() os.execute(("rm -rf '%s'"):format(folder)) end }) -- at the end

--- Name of a page → its HTML.
local PAGES = {}
if made then
  local pipe <close> = assert(io.popen(("cd '%s' && realpath . && ls *.html"):format(folder)))
  folder = pipe:read "l"
  for name in pipe:lines() do PAGES[name] = read(folder .. "/" .. name) end
end

local function sorted_pages()
  local list = {}
  for name in pairs(PAGES) do list[#list + 1] = name end
  table.sort(list)
  return list
end

--- The names that tools/manual.lua has collected, as the manual shows them: docs_spec sees to it that none is missing.
local function names()
  local list = {}
  local command = "d=$(mktemp -d) && cd '%s' && %s tools/manual.lua $d && grep -h '^-- @function ' $d/*; rm -rf $d"
  local pipe <close> = assert(io.popen(command:format(ROOT, os.getenv "LUA" or "lua5.4")))
  for line in pipe:lines() do list[#list + 1] = line:match "%S+$" end
  return list
end

-- What was written

function TestSite:test_can_be_made() t.assertTrue(made and PAGES["index.html"] ~= nil) end

local function exists(path)
  local file = io.open(path)
  if file then file:close() end
  return file ~= nil
end

local known = {}

--- Whether a link's target is there: a page and its anchor, a picture, a file of the project.
local function is_alive(from, href)
  local page, anchor = href:gsub("&amp;", "&"):match "^([^#]*)#?(.*)$"
  if page == "" then page = from end
  if PAGES[page] then
    return anchor == "" or PAGES[page]:find(('id="%s"'):format(anchor), 1, true) ~= nil
      or PAGES[page]:find(("id=%s>"):format(anchor), 1, true) ~= nil
  end
  if known[page] == nil then known[page] = exists(folder .. "/" .. page) end
  return known[page]
end

function TestSite:test_no_link_is_dead()
  local dead = {}
  for name, text in pairs(PAGES) do
    for kind, href in text:gmatch '(%l+)="?([^">]*)"?' do
      if (kind == "href" or kind == "src") and not href:find "^%l+:" and not is_alive(name, href) then
        dead[#dead + 1] = name .. " → " .. href
      end
    end
  end
  t.assertEquals(dead, {})
end

function TestSite:test_needs_nothing_from_elsewhere()
  for name, text in pairs(PAGES) do
    for tag in text:gmatch "<[ils][mic][gnr][^>]*>" do
      t.assertNil(tag:match "https?:" or tag:match '"//', name)
    end
  end
  t.assertNil(read(folder .. "/site.css"):match "url%(" or read(folder .. "/site.js"):match "https?:")
end

function TestSite:test_has_an_anchor_for_every_name_and_shows_it_on_the_first_page()
  local all, missing = table.concat(PAGES, ""), {}
  for _, text in pairs(PAGES) do all = all .. text end
  for _, name in ipairs(names()) do
    local anchor = ('id="%s"'):format(name)
    if not all:find(anchor, 1, true) or not PAGES["index.html"]:find(("#%s\""):format(name), 1, true) then
      missing[#missing + 1] = name
    end
  end
  t.assertTrue(#names() > 400)
  t.assertEquals(missing, {})
end

function TestSite:test_every_anchor_stands_once_on_its_page()
  for name, text in pairs(PAGES) do
    local seen = {}
    for id in text:gmatch ' id="?([^">]*)"?[ >]' do
      t.assertNil(seen[id], name .. "#" .. id .. " stands there twice")
      seen[id] = true
    end
  end
end

function TestSite:test_page_names_differ_on_every_disk()
  local seen = {}
  for name in pairs(PAGES) do
    t.assertNil(seen[name:lower()], name)
    seen[name:lower()] = true
  end
end

function TestSite:test_errors_stand_below_each_other_as_they_do()
  local page = PAGES["errors.html"]
  for name, class in pairs(asyncio) do
    local super = type(class) == "table" and rawget(class, "super")
    if super and name ~= "ExceptionGroup" then
      t.assertStrContains(page, ('<section id="%s">'):format(name))
      local below = page:match(('<section id="%s">.-</h3>'):format(name)):match ">below <a [^>]*>(%w+)<"
      t.assertEquals(asyncio[below or ""], super, name)
    end
  end
end

function TestSite:test_errors_of_modules_stand_below_those_of_all()
  local page = PAGES["errors.html"]
  for _, module in ipairs { asyncio.http, asyncio.redis, asyncio.distributed } do
    for name, class in pairs(module) do
      local super = type(class) == "table" and rawget(class, "super")
      if super then
        local below = page:match(('<section id="%s">.-</h3>'):format(name)):match ">below <a [^>]*>(%w+)<"
        t.assertEquals(asyncio[below] or module[below], super, name)
      end
    end
  end
end

function TestSite:test_leaves_no_markdown()
  for name, text in pairs(PAGES) do
    text = text:gsub("<head>.-</head>", ""):gsub("<pre>.-</pre>", ""):gsub("<code>.-</code>", ""):gsub("<[^>]*>", "")
    for _, mark in ipairs { "%*%*", "%]%(", "`", "\n *|", "\n *#+ [^\nb]" } do
      t.assertNil(text:match("[^\n]*" .. mark .. "[^\n]*"), name)
    end
  end
end

function TestSite:test_errors_say_who_raises_them()
  local function raised_by(name) return PAGES["errors.html"]:match(('<section id="%s">.-</section>'):format(name)) end
  t.assertStrContains(raised_by "QueueFull", '<a href="Queue.html#Queue:put_nowait">')
  t.assertStrContains(raised_by "IncompleteReadError", "StreamReader:readexactly")
  t.assertStrContains(raised_by "FileExistsError", "asyncio.fs")
  t.assertNil(raised_by "CancelledError":match "asyncio%.pcall")
end

function TestSite:test_weighs_less_than_two_megabytes()
  local pipe <close> = assert(io.popen(("cat '%s'/* '%s'/*/* 2>/dev/null | wc -c"):format(folder, folder)))
  t.assertTrue(tonumber(pipe:read "a") < 2000000)
end

function TestSite:test_every_page_has_the_version_and_the_menu()
  local version = asyncio._VERSION:match "%S+$"
  for name, text in pairs(PAGES) do
    t.assertStrContains(text, "for Lua · " .. version)
    t.assertTrue(select(2, text:gsub(" aria%-current=page", "")) <= 1, name)
    t.assertStrContains(text, '<a href="networking.html"')
  end
end

function TestSite:test_links_to_the_sources()
  local href, title = PAGES["Queue.html"]:match '<a class=src href="([^"]*)" title="([^"]*)">'
  t.assertStrContains(href, "src/sync/queue.c")
  t.assertStrMatches(PAGES["Queue.html"], ".*>queue%.c:%d+</a>.*")
  local path, line = title:match "^(.*):(%d+)$"
  local n = 0
  for text in io.lines(ROOT .. "/" .. path) do
    n = n + 1
    if n == tonumber(line) then t.assertStrContains(text, "/// ") end
  end
end

function TestSite:test_every_guide_is_a_page()
  local pipe <close> = assert(io.popen(("cd '%s' && ls doc/*.md"):format(ROOT)))
  for path in pipe:lines() do
    local heading = markdown.page({ name = function() end, link = function(x) return x end })
      :inline(read(ROOT .. "/" .. path):match "^# ([^\n]*)")
    local shown = false
    for _, text in pairs(PAGES) do shown = shown or text:find(">" .. heading .. "</h1>", 1, true) ~= nil end
    t.assertEquals(shown, path ~= "doc/design.md", path)
  end
end

-- In a browser

--- What of a page is wider than it may be: the page itself, and whatever in it scrolls sideways.
local WIDE = [[(function () {
  const wide = [], root = document.documentElement, room = root.clientWidth;
  if (root.scrollWidth > room) wide.push("the page: " + root.scrollWidth);
  for (const e of document.querySelectorAll("pre, table, .wide, code, dl, img, h1, h2, h3, li, p, td")) {
    const box = e.getBoundingClientRect();
    if (box.width && box.right > room + 1 || e.matches("pre, .wide") && e.scrollWidth > e.clientWidth + 1)
      wide.push(e.tagName + ": " + e.textContent.slice(0, 60));
  }
  return wide.slice(0, 5).join(" | ");
})()]]

local function nothing_overflows(opts)
  opts.undrawn = true -- to be measured it need not be
  for _, name in ipairs(sorted_pages()) do
    browser.drive(function(tab)
      tab:open(folder .. "/" .. name, opts)
      t.assertEquals(tab:ask(WIDE), "", name)
      t.assertEquals(tab.problems, {}, name)
    end)
  end
end

function TestBrowser:test_nothing_overflows_on_a_phone()
  nothing_overflows { width = 420, height = 900, touch = true }
end

function TestBrowser:test_nothing_overflows_on_a_screen() nothing_overflows { width = 1280 } end

-- Each name that leads to an entry is searched for as it is called, and as a method alone is.
local SEARCHED = [[find_names("").then(() => Promise.all(window.manual.filter((row) => row[1] !== "guide").map((row) =>
  Promise.all([find_names(row[0]), find_names(row[0].split(/[.:]/).pop())]).then(([whole, last]) =>
    whole[0] === row && last.slice(0, 40).includes(row) ? row[2] : "not found: " + row[0]))))
  .then((all) => all.join(" "))]]

function TestBrowser:test_search_finds_every_name_first()
  browser.drive(function(tab)
    tab:open(folder .. "/tasks.html")
    local found = tab:ask(SEARCHED)
    t.assertNil(found:match "not found[^,]*")
    for _, name in ipairs(names()) do t.assertStrContains(found .. " ", ("#%s "):format(name)) end
    for href in found:gmatch "%S+" do t.assertTrue(is_alive("tasks.html", href), href) end
  end)
end

function TestBrowser:test_search_finds_errors_and_values()
  browser.drive(function(tab)
    tab:open(folder .. "/index.html")
    for name, value in pairs(asyncio) do
      if type(value) ~= "function" and name:find "^%u" then
        t.assertStrContains(tab:ask(("find_names(%q).then((hits) => String(hits[0]))"):format(name)), name)
      end
    end
  end)
end

function TestBrowser:test_search_finds_what_guides_say()
  browser.drive(function(tab)
    tab:open(folder .. "/index.html")
    for words, page in pairs { ["back-pressure"] = "networking.html", ["virtual clock"] = "testing.html",
      starttls = "tls.html" } do
      local hits = ("find_names(%q).then((hits) => hits.slice(0, 8).map((hit) => hit[2]).join(' '))"):format(words)
      t.assertStrContains(tab:ask(hits), page)
    end
  end)
end

--- Calls fn(tab) on the first page, once the words have been typed into its search.
local function searching(words, fn)
  browser.drive(function(tab)
    tab:open(folder .. "/index.html")
    tab:key "/"
    tab:type(words)
    tab:ask "find_names('').then(() => 1)"
    tab:rest()
    fn(tab)
  end)
end

function TestBrowser:test_search_is_typed_and_followed_by_keys()
  searching("queue get", function(tab)
    t.assertStrContains(tab:ask "document.querySelector('#found [aria-selected=true]').textContent", "Queue:get")
    tab:key "ArrowDown"
    t.assertEquals(tab:ask "[...document.querySelectorAll('#found li')].findIndex((e) => e.ariaSelected === 'true')", 1)
    tab:key "Escape"
    t.assertTrue(tab:ask "document.getElementById('found').hidden")
  end)
end

function TestBrowser:test_search_opens_what_was_found()
  searching("put_nowait", function(tab)
    tab.loaded = false
    tab:ask "document.querySelector('.search').requestSubmit(), 1"
    while not tab.loaded do tab:receive() end
    t.assertStrContains(tab:ask "location.href", "Queue.html#Queue:put_nowait")
  end)
end

function TestBrowser:test_search_says_when_there_is_nothing()
  searching("zebra crossing", function(tab)
    t.assertEquals(tab:ask "document.getElementById('found').textContent", "Nothing is called so.")
  end)
end

function TestBrowser:test_the_menu_opens_on_a_phone()
  browser.drive(function(tab)
    tab:open(folder .. "/http.html", { width = 420, height = 900 })
    local SHOWN = "document.getElementById('nav').getBoundingClientRect().width > 0"
    t.assertFalse(tab:ask(SHOWN))
    tab:click(28, 28)
    t.assertTrue(tab:ask(SHOWN))
    tab:ask "document.querySelector('#nav .close').click()"
    tab:rest()
    t.assertFalse(tab:ask(SHOWN))
  end)
end

-- The luminance of text and of what it stands on, as WCAG has it: the least contrast of all kinds of text.
local CONTRAST = [[(function () {
  const numbers = (text) => text.match(/[\d.]+/g).map(Number);
  const linear = (x) => (x /= 255) <= .04045 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4;
  const light = (c) => { const [r, g, b] = c.map(linear); return .2126 * r + .7152 * g + .0722 * b; };
  const back = (e) => { for (; e; e = e.parentElement) { const c = numbers(getComputedStyle(e).backgroundColor);
    if (c.length < 4 || c[3]) return c; } return [255, 255, 255]; };
  let least = 99;
  for (const e of document.querySelectorAll("p, a, small, dt, td, code, pre, i, span, h2, footer")) {
    const a = light(numbers(getComputedStyle(e).color)), b = light(back(e));
    least = Math.min(least, (Math.max(a, b) + .05) / (Math.min(a, b) + .05));
  }
  return least;
})()]]

function TestBrowser:test_can_be_read_in_the_light_and_in_the_dark()
  browser.drive(function(tab)
    for _, name in ipairs { "index.html", "networking.html", "Queue.html", "errors.html" } do
      local backs = {}
      for _, dark in ipairs { false, true } do
        tab:open(folder .. "/" .. name, { dark = dark })
        t.assertTrue(tab:ask(CONTRAST) >= 4.5, name .. (dark and " in the dark" or " in the light"))
        backs[#backs + 1] = tab:ask "getComputedStyle(document.body).backgroundColor"
      end
      t.assertNotEquals(backs[1], backs[2])
    end
  end)
end

function TestBrowser:test_guide_and_reference_stand_beside_each_other()
  browser.drive(function(tab)
    tab:open(folder .. "/networking.html", { width = 1280 })
    t.assertTrue(tab:ask [[(function () {
      const [guide, beside] = ["article", "aside"].map((tag) => document.querySelector(tag).getBoundingClientRect());
      return beside.left >= guide.right && beside.top === guide.top; })()]])
    tab:open(folder .. "/networking.html", { width = 420 })
    t.assertTrue(tab:ask "document.querySelector('aside').getBoundingClientRect().left < 50")
  end)
end

-- Its pieces

local function rendered(text)
  local page = markdown.page { link = function(target) return target end, name = function() end }
  return (page:render(text):gsub("\n", ""))
end

function TestPieces:test_markdown_in_blocks()
  t.assertEquals(rendered "# A `b`\n\ntext\nmore\n\n## C", '<h1 id="a-b">A <code>b</code></h1><p>textmore</p>'
    .. '<h2 id="c">C <a class=at href="#c" aria-label="link">#</a></h2>')
  t.assertEquals(rendered "> said\n> so", "<blockquote><p>saidso</p></blockquote>")
  t.assertEquals(rendered "![a](b.svg)", '<figure><a href="b.svg"><img src="b.svg" alt="a" loading=lazy></a></figure>')
end

function TestPieces:test_markdown_code_without_a_fence()
  t.assertEquals(rendered "a\n\n    b  c\n\n      d\n\ne\n    f", "<p>a</p><pre><code>b  c  d</code></pre><p>ef</p>")
end

function TestPieces:test_markdown_lists()
  t.assertEquals(rendered "* a\n  b\n* c\n  - d\n\nend", "<ul><li>ab</li><li>c<ul><li>d</li></ul></li></ul><p>end</p>")
  t.assertEquals(rendered "1. a\n\n   b\n2. c", "<ol><li><p>a</p><p>b</p></li><li>c</li></ol>")
end

function TestPieces:test_markdown_tables_may_have_bars_in_code()
  t.assertEquals(rendered "| a | b |\n|---|---|\n| `x | y` | c |", "<div class=wide><table><thead><tr><th>a</th>"
    .. "<th>b</th></tr></thead><tr><td><code>x | y</code></td><td>c</td></tr></table></div>")
  t.assertEquals(rendered "| | `b` | c |\n|---|---|---|\n| 1 | 2 | 3 |", "<div class=wide><table><thead><tr><th></th>"
    .. "<th><code>b</code></th><th>c</th></tr></thead><tr><td>1</td>" .. '<td data-h="b">2</td><td data-h="c">3</td>'
    .. "</tr></table></div>")
  t.assertEquals(rendered "| | |\n|---|---|\n| a | b |",
    "<div class=wide><table><tr><td>a</td><td>b</td></tr></table></div>")
end

function TestPieces:test_markdown_in_a_text()
  for text, expected in pairs {
    ["a **b *c*** d"] = "a <strong>b <em>c</em></strong> d", ["2 * 3 * 4"] = "2 * 3 * 4",
    ["a_b_c _d_"] = "a_b_c <em>d</em>",
    ["[`a`](b)"] = '<a href="b"><code>a</code></a>', ["[a] (b)"] = "[a] (b)", ["`` a`b ``"] = "<code>a`b</code>",
    ["a < b & c"] = "a &lt; b &amp; c", ["\\*a\\*"] = "*a*",
    ["<https://a.org>"] = '<a href="https://a.org">https://a.org</a>',
    ["an ` alone"] = "an ` alone", ["*[a](b)*"] = '<em><a href="b">a</a></em>',
  } do t.assertEquals(rendered(text), "<p>" .. expected .. "</p>") end
end

function TestPieces:test_names_are_linked_where_they_are_meant()
  local page = markdown.page { link = function(target) return target end,
    name = function(name) return (name == "ClosedError" or name == "OSError" or name == "a.b") and name .. ".html" end }
  t.assertEquals(page:render "raises ClosedError, OSError (or XError); [ClosedError](x) `a.b` `c`",
    '<p>raises <a href="ClosedError.html">ClosedError</a>, <a href="OSError.html">OSError</a> (or XError); '
    .. '<a href="x">ClosedError</a> <a href="a.b.html"><code>a.b</code></a> <code>c</code></p>\n')
end

function TestPieces:test_code_says_what_it_said()
  local source = 'local x <close> = "a\\"b" -- c & d\nreturn [[\nlong]], 0x1F, \'q\' --[[ e\nf ]] + y.end_'
  for _, language in ipairs { "lua", "python", "c", "sh", "text", "" } do
    t.assertEquals(html.plain(colour.block(source, language)), source .. "\n\n")
  end
end

function TestPieces:test_code_is_coloured()
  local text = colour.block('if x then y("end") end -- if 1', "lua")
  t.assertStrContains(text,
    "<i class=k>if</i> x <i class=k>then</i> y(<i class=s>&quot;end&quot;</i>) <i class=k>end</i>")
  t.assertStrContains(text, "<i class=c>-- if 1</i>")
  t.assertStrContains(colour.block("asyncio.sleep(1)", "lua", function(name) return name .. ".html" end),
    '<a href="asyncio.sleep.html">asyncio.sleep</a>(<i class=n>1</i>)')
end

function TestPieces:test_anchors_are_those_of_markdown_elsewhere()
  t.assertEquals(html.anchor "What an end looks like: `eof`, and more", "what-an-end-looks-like-eof-and-more")
end

if not browser.program() then
  for name in pairs(TestBrowser) do TestBrowser[name] = function() t.skip "no chromium" end end
end
for _, class in ipairs { TestBrowser, TestSite } do t.leave_out(class, ".") end -- nothing of ours runs there
function TestSite:setUp() browser.close() end -- they come last
t.finish()
