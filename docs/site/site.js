// The table of contents begins where the reader is.
const contents = document.querySelector(".sidebar-scroll")
const here = document.querySelector(".sidebar-tree .current-page")
if (here) contents.scrollTop = here.offsetTop - contents.clientHeight / 3
