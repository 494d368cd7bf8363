"""Caches in napari: a case as layers, a reader and a list of cases for its plugin, a window.

``napari.yaml`` is the manifest of the plugin. Nothing is imported here, since napari looks this
package up at every start. Modules that need napari or Qt import them when they are called.
"""
