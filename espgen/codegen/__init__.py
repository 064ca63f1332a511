"""Integer graph to C++ component: kernel choice, views, templates, project writer."""
