// Contours of a valley, the lowest point filled; the colours stand out on light and dark.

export const LANDSCAPE_ICON = {
  name: 'lwidgets:landscape',
  svgstr:
    '<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 24 24" fill="none" stroke-width="2">' +
    '<ellipse cx="12" cy="12" rx="10" ry="8" stroke="#5a78c8" transform="rotate(-18 12 12)"/>' +
    '<ellipse cx="11.3" cy="12.3" rx="6.2" ry="4.4" stroke="#21a49e" transform="rotate(-18 12 12)"/>' +
    '<ellipse cx="10.4" cy="12.6" rx="2.2" ry="1.4" fill="#4cb04f" stroke="#4cb04f" transform="rotate(-18 12 12)"/></svg>',
};
